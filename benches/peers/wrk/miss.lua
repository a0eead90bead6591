-- GETs of keys that nobody has stored, a new one each time, as Gradle asks.

local here = os.getenv("PEERS_LUA")
dofile(here .. "/report.lua")
local keys = dofile(here .. "/keys.lua")

sent = 0 -- global: report.lua reads it
local slot

function init()
  slot = keys.slot(wrk.format("GET", wrk.path .. keys.placeholder))
end

function request()
  local n = sent
  sent = n + 1
  return keys.new(slot, n)
end
