-- The mix: 90 % GET of stored keys, 10 % PUT under fresh keys, both with the
-- size distribution that entries.py wrote into the plan. The order is drawn
-- once, from a fixed seed, without replacement: every server gets the same
-- requests in the same order, and the few very large ones weigh the same in
-- every run.

local here = os.getenv("PEERS_LUA")
dofile(here .. "/report.lua")
local keys = dofile(here .. "/keys.lua")

sent = 0 -- global: report.lua reads it; here the PUTs alone
local deck, size, at = {}, 0, 0

-- Plan lines: "get KEY COUNT" or "put FILE COUNT", COUNT cards of each.
function init()
  local content_type = "application/vnd.gradle.build-cache-artifact.v1"
  for line in io.lines(os.getenv("PEERS_PLAN")) do
    local kind, what, cards = line:match("^(%S+)\t(%S+)\t(%d+)")
    local card
    if kind == "get" then
      if os.getenv("PEERS_KEY_HEX") == "64" then what = what .. what end
      card = wrk.format("GET", wrk.path .. what)
    else
      local file = assert(io.open(what, "rb"))
      local headers = { ["Content-Type"] = content_type }
      for name, value in pairs(wrk.headers) do headers[name] = value end
      card = keys.slot(wrk.format("PUT", wrk.path .. keys.placeholder, headers, file:read("*a")))
      file:close()
    end
    for _ = 1, tonumber(cards) do
      deck[size] = card
      size = size + 1
    end
  end
  math.randomseed(tonumber(os.getenv("PEERS_DECK") or "7"))
  for i = size - 1, 1, -1 do
    local j = math.random(0, i)
    deck[i], deck[j] = deck[j], deck[i]
  end
end

function request()
  local card = deck[at]
  at = at + 1
  if at == size then at = 0 end
  if type(card) == "string" then return card end
  local n = sent
  sent = n + 1
  return keys.new(card, n)
end
