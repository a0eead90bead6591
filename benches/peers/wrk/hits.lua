-- GETs spread over many stored keys (run --keys N), one after the other.

dofile(os.getenv("PEERS_LUA") .. "/report.lua")

local requests, count, next = {}, 0, 0

function init()
  for key in io.lines(os.getenv("PEERS_KEYS")) do
    requests[count] = wrk.format("GET", wrk.path .. key)
    count = count + 1
  end
end

function request()
  local n = next
  next = n + 1
  if next == count then next = 0 end
  return requests[n]
end
