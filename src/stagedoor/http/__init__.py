"""HTTP/1.1 on sockets, shared by both listeners: connection, request, response. Knows nothing of AWS."""
