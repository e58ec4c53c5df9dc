-- Sends requests that were made (and signed) beforehand, in rotation. BENCH_REQUESTS names the file:
-- for each request its length in bytes on a line, then the request as it goes over the wire.
local requests, count, at = {}, 0, 0

function init(_)
  local file = assert(io.open(os.getenv("BENCH_REQUESTS"), "rb"))
  while true do
    local line = file:read("*l")
    if not line then break end
    count = count + 1
    requests[count] = file:read(tonumber(line))
  end
  file:close()
end

function request()
  at = at % count + 1
  return requests[at]
end
