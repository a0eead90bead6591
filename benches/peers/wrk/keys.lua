-- Fresh keys that look like digests: hex, evenly spread over their first two
-- digits, never the same twice for one seed. measure.py computes the same ones.
--
-- A request is built once, with a placeholder for the key, and each new key is
-- written over it in place. Lua means its strings to be constant, but wrk copies
-- what request() returns and nobody compares these strings; building a fresh one
-- of a megabyte for each PUT made the client the limit, not the server.

local ffi = require("ffi")
local bit = require("bit")
local tobit, band, bxor, lshift, rshift = bit.tobit, bit.band, bit.bxor, bit.lshift, bit.rshift

local seed = tonumber(os.getenv("PEERS_SEED") or "1")
local long = os.getenv("PEERS_KEY_HEX") == "64"
local digits = ffi.new("uint8_t[16]", { ("0123456789abcdef"):byte(1, 16) })

local keys = { placeholder = ("@"):rep(long and 64 or 32) }

local function mix(x, add)
  x = tobit(x + add)
  x = bxor(x, lshift(x, 13))
  x = bxor(x, rshift(x, 17))
  return bxor(x, lshift(x, 5))
end

local function write(at, word)
  for i = 0, 7 do
    at[i] = digits[band(rshift(word, 28 - 4 * i), 15)]
  end
end

-- What new() needs to know about a request that has the placeholder in it.
function keys.slot(request)
  local from = assert(request:find(keys.placeholder, 1, true))
  local start = ffi.cast("uint8_t *", ffi.cast("const char *", request))
  return { request = request, at = start + (from - 1) }
end

-- The request with the n-th key.
function keys.new(slot, n)
  local a = mix(mix(tobit(n), 0x1e3779b9), 0x7f4a7c15)
  local b = mix(mix(a, seed), 0x3f58476d)
  local c = mix(b, 0x14d049bb)
  local d = mix(c, 0x2545f491)
  local at = slot.at
  write(at, a)
  write(at + 8, b)
  write(at + 16, c)
  write(at + 24, d)
  if long then ffi.copy(at + 32, at, 32) end
  return slot.request
end

return keys
