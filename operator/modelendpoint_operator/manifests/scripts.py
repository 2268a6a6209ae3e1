"""Lua that Envoy runs for what none of its filters does: to know API keys by their sha256, and to read mounted files.

The texts are the same for every endpoint; what differs comes by the filter's context. A script that fails must never
let a request pass (``manifests.access`` sees to that), and no key may be kept or written anywhere.
"""

from typing import Any

from modelendpoint_operator.manifests.xds import TYPES, Document

LUA_FILTER = "envoy.filters.http.lua"

READING = """
local MOST_BYTES = 2 * 1024 * 1024

-- Returns nil for a file that is not there or has nothing in it.
local function read(path)
  local file = io.open(path, "rb")
  if file == nil then return nil end
  local text = file:read(MOST_BYTES)
  file:close()
  return text ~= "" and text or nil
end

local MOMENT = "^%d%d%d%d%-%d%d%-%d%dT%d%d:%d%d:%d%dZ$"

-- Returns the clients by the sha256 of their keys, and the number of the first line that is not understood.
local function parse_keys(text)
  local clients, wrong, number = {}, nil, 0
  for line in (text .. "\\n"):gmatch("(.-)\\r?\\n") do
    number = number + 1
    local hash, name, ends = line:match("^%s*(%x+)%s+([%w._@/-]+)%s*(.-)%s*$")
    if hash and #hash == 64 and (ends == "" or ends:match(MOMENT)) then
      clients[hash:lower()] = {name = name, ends = ends ~= "" and ends or nil}
    elseif line:find("^%s*[^%s#]") then
      wrong = wrong or number
    end
  end
  return clients, wrong
end
""".strip()

SHA256 = """
local bit = require("bit")
local band, bnot, bor, bxor, ror = bit.band, bit.bnot, bit.bor, bit.bxor, bit.ror
local lshift, rshift, tobit, tohex = bit.lshift, bit.rshift, bit.tobit, bit.tohex

-- The constants are the first 32 bits behind the point of the roots of the first 64 primes.
local PRIMES = {}
for number = 2, 311 do
  local is_prime = true
  for _, prime in ipairs(PRIMES) do is_prime = is_prime and number % prime ~= 0 end
  if is_prime then PRIMES[#PRIMES + 1] = number end
end
local function fraction(number) return tobit(math.floor((number - math.floor(number)) * 2 ^ 32)) end
local CUBE_ROOTS, SQUARE_ROOTS = {}, {}
for index, prime in ipairs(PRIMES) do
  CUBE_ROOTS[index] = fraction(prime ^ (1 / 3))
  SQUARE_ROOTS[index] = fraction(prime ^ (1 / 2))
end

-- For texts far below the 512 MiB from which on their length in bits has more than 32 bits.
local function sha256(text)
  local length = #text * 8
  text = text .. "\\128" .. string.rep("\\0", (55 - #text) % 64 + 4)
    .. string.char(band(rshift(length, 24), 255), band(rshift(length, 16), 255), band(rshift(length, 8), 255),
                   band(length, 255))
  local words, state = {}, {unpack(SQUARE_ROOTS, 1, 8)}
  for first = 1, #text, 64 do
    for index = 1, 16 do
      local one, two, three, four = string.byte(text, first + 4 * index - 4, first + 4 * index - 1)
      words[index] = bor(lshift(one, 24), lshift(two, 16), lshift(three, 8), four)
    end
    for index = 17, 64 do
      local x, y = words[index - 15], words[index - 2]
      words[index] = tobit(words[index - 16] + bxor(ror(x, 7), ror(x, 18), rshift(x, 3))
        + words[index - 7] + bxor(ror(y, 17), ror(y, 19), rshift(y, 10)))
    end
    local a, b, c, d, e, f, g, h = unpack(state)
    for index = 1, 64 do
      local one = h + bxor(ror(e, 6), ror(e, 11), ror(e, 25)) + bxor(band(e, f), band(bnot(e), g))
        + CUBE_ROOTS[index] + words[index]
      local two = bxor(ror(a, 2), ror(a, 13), ror(a, 22)) + bxor(band(a, b), band(a, c), band(b, c))
      h, g, f, e, d, c, b, a = g, f, e, tobit(d + one), c, b, a, tobit(one + two)
    end
    for index, value in ipairs({a, b, c, d, e, f, g, h}) do state[index] = tobit(state[index] + value) end
  end
  for index = 1, 8 do state[index] = tohex(state[index]) end
  return table.concat(state)
end
""".strip()

CHECKING = """
-- Needs READING and SHA256.
local MOST_KEY_BYTES = 512
local clients, read_at = {}, nil

-- The kubelet changes the file while this runs. Each of Envoy's threads looks once a second.
local function refresh(path)
  local now = os.time()
  if now == read_at then return end
  read_at, clients = now, {}
  local text = read(path)
  if text then clients = parse_keys(text) end
end

-- Returns why a request is refused, or nil.
local function check(handle)
  local context, headers = handle:filterContext(), handle:headers()
  local name = context:get("header")
  refresh(context:get("file"))
  if next(clients) == nil then
    handle:streamInfo():dynamicMetadata():set("modelendpoint", "trouble", "keys")
    return {status = "503", error = "The router has no API keys to compare with; see the status of the ModelEndpoint"}
  end
  local key = headers:get(name)
  if key and name == "authorization" then key = key:match("^[Bb]earer +(.*)$") end
  if not key or key == "" then return {status = "401", error = "The request has no API key in its header " .. name} end
  if headers:getNumValues(name) ~= 1 then
    return {status = "401", error = "The request has more than one header " .. name}
  end
  local client = #key <= MOST_KEY_BYTES and clients[sha256(key)]
  if not client then return {status = "401", error = "The API key is not one of this endpoint's"} end
  if client.ends and client.ends <= os.date("!%Y-%m-%dT%H:%M:%SZ") then
    return {status = "401", error = "The API key was good until " .. client.ends}
  end
  headers:remove(name)
  handle:streamInfo():dynamicMetadata():set("modelendpoint", "client", client.name)
end

function envoy_on_request(handle)
  local ran, refusal = pcall(check, handle)
  if not ran then
    handle:logErr("checking an API key failed: " .. tostring(refusal))
    refusal = {status = "503", error = "The router could not check the API key"}
  end
  if refusal then
    local headers = {[":status"] = refusal.status}
    if refusal.status == "401" then headers["www-authenticate"] = "ApiKey" end
    handle:respond(headers, refusal.error)
  end
end
""".strip()

SERVING = """
function envoy_on_request(handle)
  local text = read(handle:filterContext():get("file"))
  handle:respond({[":status"] = text and "200" or "503"}, text or "")
end
""".strip()

TELLING = """
local function trouble_with(name, path)
  local text = read(path)
  if not text then return "missing" end
  if name == "jwks" then return not text:find('"keys"', 1, true) and "invalid" or nil end
  if name == "tls" then return not text:find("BEGIN CERTIFICATE", 1, true) and "invalid" or nil end
  if name ~= "keys" then return nil end
  local clients, wrong = parse_keys(text)
  return wrong and "line " .. wrong or next(clients) == nil and "empty" or nil
end

function envoy_on_response(handle)
  local found = {}
  for name, path in pairs(handle:filterContext()) do
    local trouble = trouble_with(name, path)
    if trouble then found[#found + 1] = name .. "=" .. trouble end
  end
  if #found > 0 then handle:headers():replace("x-modelendpoint-trouble", table.concat(found, ",")) end
end
""".strip()


KEY_CHECK = f"{READING}\n\n{SHA256}\n\n{CHECKING}"
"""Refuses every request without a key whose sha256 is in ``file``; the key is in ``header``, and goes no further."""

FILE_SERVER = f"{READING}\n\n{SERVING}"
"""Answers every request with what is in ``file``, and 503 without it."""

TROUBLE_TELLER = f"{READING}\n\n{TELLING}"
"""Adds to every answer which of the files in the context can't be used, in the header of ``names``."""


def build_script(source: str, context: dict[str, Any]) -> Document:
    """Build the filter that runs a script."""
    return {
        "name": LUA_FILTER,
        "typed_config": {
            "@type": f"{TYPES}.extensions.filters.http.lua.v3.Lua",
            "default_source_code": {"inline_string": source},
            "filter_context": context,
        },
    }
