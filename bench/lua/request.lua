-- One request, again and again: POST of the body in the file BENCH_BODY (of the type BENCH_TYPE), or GET when there is none, of BENCH_PATH. With
-- BENCH_SPREAD above 1 each has a random number below it in the place of "{}"; up to 10,000 of them are made beforehand.
-- Prints one line of JSON when done. wrk counts every answer of 400 and above as an error.

local body_file = os.getenv("BENCH_BODY")
wrk.headers["X-Vault-Token"] = os.getenv("BENCH_TOKEN")
if body_file then
  local file = assert(io.open(body_file, "rb"))
  wrk.method = "POST"
  wrk.headers["Content-Type"] = os.getenv("BENCH_TYPE")
  wrk.body = file:read("*a")
  file:close()
end

local path = os.getenv("BENCH_PATH")
local spread = tonumber(os.getenv("BENCH_SPREAD"))
local before, after = path:match("^(.*){}(.*)$")
local made = {}

local function of(number)
  return wrk.format(nil, before .. string.format("%05d", number) .. after)
end

function init()
  math.randomseed(os.time())
  if spread == 1 then
    made[0] = wrk.format(nil, path)
  elseif spread <= 10000 then
    for number = 0, spread - 1 do made[number] = of(number) end
  end
end

function request()
  if spread == 1 then return made[0] end
  local number = math.random(0, spread - 1)
  return made[number] or of(number)
end

function done(summary, latency, requests)
  local errors = summary.errors
  io.write(string.format(
    '{"requests": %d, "microseconds": %d, "p50": %d, "p99": %d, "max": %d, ' ..
    '"bad_status": %d, "bad_socket": %d, "timeouts": %d}\n',
    summary.requests, summary.duration, latency:percentile(50), latency:percentile(99), latency.max,
    errors.status, errors.connect + errors.read + errors.write, errors.timeout))
end
