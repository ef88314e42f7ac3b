-- One request, again and again: POST of the body in the file BENCH_BODY, or GET when there is none. The path is the URL's.
-- Prints one line of JSON when done. wrk counts every answer of 400 and above as an error.

local body_file = os.getenv("BENCH_BODY")
wrk.headers["X-Vault-Token"] = os.getenv("BENCH_TOKEN")
if body_file then
  local file = assert(io.open(body_file, "rb"))
  wrk.method = "POST"
  wrk.headers["Content-Type"] = "application/json"
  wrk.body = file:read("*a")
  file:close()
end

function done(summary, latency, requests)
  local errors = summary.errors
  io.write(string.format(
    '{"requests": %d, "microseconds": %d, "p50": %d, "p99": %d, "max": %d, ' ..
    '"bad_status": %d, "bad_socket": %d, "timeouts": %d}\n',
    summary.requests, summary.duration, latency:percentile(50), latency:percentile(99), latency.max,
    errors.status, errors.connect + errors.read + errors.write, errors.timeout))
end
