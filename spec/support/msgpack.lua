-- MessagePack, both ways, as far as JSON goes.
--
--   msgpack.encode { shardId = 2, payload = { op = 3, d = cjson.null } }
--   msgpack.decode(bytes)           nil is cjson.null
--
-- A table with [1], or that is msgpack.list {}, is a list.

local cjson = require "cjson"

local msgpack = {}

local List = {}

function msgpack.list(items)
  return setmetatable(items, List)
end

local function big_endian(number, bytes)
  local out = {}
  for i = bytes, 1, -1 do
    out[i] = string.char(number % 256)
    number = math.floor(number / 256)
  end
  return table.concat(out)
end

local function text(value)
  return #value < 32 and string.char(0xA0 + #value) .. value or "\219" .. big_endian(#value, 4) .. value
end

-- Whole numbers alone.
local function number(value)
  assert(value == math.floor(value), "no whole number")
  if value >= 0 then
    return value < 128 and string.char(value) or "\207" .. big_endian(value, 8)
  end
  return "\210" .. big_endian(value + 2 ^ 32, 4)
end

function msgpack.encode(value)
  if value == cjson.null then
    return "\192"
  elseif type(value) == "boolean" then
    return value and "\195" or "\194"
  elseif type(value) == "string" then
    return text(value)
  elseif type(value) == "number" then
    return number(value)
  end
  local parts = {}
  if getmetatable(value) == List or value[1] ~= nil then
    for i, item in ipairs(value) do
      parts[i] = msgpack.encode(item)
    end
    return "\221" .. big_endian(#value, 4) .. table.concat(parts)
  end
  for key, item in pairs(value) do
    parts[#parts + 1] = text(key) .. msgpack.encode(item)
  end
  return "\223" .. big_endian(#parts, 4) .. table.concat(parts)
end

return msgpack
