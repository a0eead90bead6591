-- PUTs under a fresh key each; the bodies take turns.

local here = os.getenv("PEERS_LUA")
dofile(here .. "/report.lua")
local keys = dofile(here .. "/keys.lua")

sent = 0 -- global: report.lua reads it
local slots, count = {}, 0

function init()
  wrk.headers["Content-Type"] = "application/vnd.gradle.build-cache-artifact.v1"
  for path in io.lines(os.getenv("PEERS_BODIES")) do
    local file = assert(io.open(path, "rb"))
    slots[count] = keys.slot(wrk.format("PUT", wrk.path .. keys.placeholder, nil, file:read("*a")))
    file:close()
    count = count + 1
  end
end

function request()
  local n = sent
  sent = n + 1
  return keys.new(slots[n % count], n)
end
