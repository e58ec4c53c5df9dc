-- Sends requests that were made (and signed) beforehand, in rotation, and counts the answers by status.
-- BENCH_REQUESTS names the file: for each request on one line its length in bytes and 1 when it has to be refused (else 0),
-- then the request as it goes over the wire. At the end one line of JSON tells what was seen.
local requests, refusals, count, at = {}, {}, 0, 0
local threads = {}
due, accepted, refused, other = 0, 0, 0, 0

function setup(thread)
  threads[#threads + 1] = thread
end

function init(_)
  local file = assert(io.open(os.getenv("BENCH_REQUESTS"), "rb"))
  while true do
    local line = file:read("*l")
    if not line then break end
    local length, refusal = line:match("^(%d+) (%d)$")
    count = count + 1
    requests[count] = file:read(tonumber(length))
    refusals[count] = tonumber(refusal)
  end
  file:close()
end

function request()
  at = at % count + 1
  due = due + refusals[at]
  return requests[at]
end

function response(status, _, _)
  if status < 300 then accepted = accepted + 1
  elseif status == 403 then refused = refused + 1
  else other = other + 1 end
end

function done(summary, latency, _)
  local due, accepted, refused, other = 0, 0, 0, 0
  for _, thread in ipairs(threads) do
    due, accepted = due + thread:get("due"), accepted + thread:get("accepted")
    refused, other = refused + thread:get("refused"), other + thread:get("other")
  end
  local failed = summary.errors.connect + summary.errors.read + summary.errors.write + summary.errors.timeout
  io.write(string.format(
    '\nBENCH {"duration_s": %.6f, "accepted": %d, "refused": %d, "other": %d, "refusals_due": %d, "failed": %d, ' ..
    '"p50_ms": %.4f, "p99_ms": %.4f, "bytes": %d}\n',
    summary.duration / 1e6, accepted, refused, other, due, failed,
    latency:percentile(50) / 1000, latency:percentile(99) / 1000, summary.bytes))
end
