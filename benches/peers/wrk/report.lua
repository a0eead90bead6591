-- The one line that measure.py reads, printed after wrk's own summary.
-- Without a `request` function wrk sends one fixed request, its fastest way.

local threads = {}

function setup(thread)
  threads[#threads + 1] = thread
end

function done(summary, latency)
  local sent = 0
  for _, thread in ipairs(threads) do
    sent = sent + (tonumber(thread:get("sent")) or 0)
  end
  local errors = summary.errors
  io.write(string.format(
    "\nPEERS requests=%d duration_us=%d bytes=%d connect=%d read=%d write=%d status=%d timeout=%d p50_us=%d p99_us=%d sent=%d\n",
    summary.requests, summary.duration, summary.bytes,
    errors.connect, errors.read, errors.write, errors.status, errors.timeout,
    latency:percentile(50), latency:percentile(99), sent))
end
