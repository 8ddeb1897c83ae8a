-- gateway.log: one line each, with string.format's directives when there are
-- arguments. A table as the last argument gives fields:
--
--   gateway.log.info("%s has joined", name, { shard = 3, guild = id })
--
-- A line below the configured level costs no formatting.

local core = require "tidegate.core"
local error, getmetatable, ipairs, pairs, pcall, select = error, getmetatable, ipairs, pairs, pcall, select
local format, sort = string.format, table.sort
local tonumber, tostring, type, unpack = tonumber, tostring, type, unpack

local log = {}

-- The names of the gateway's own fields keep their types; those of each line are taken.
local kinds, most = core.log_fields, core.log_fields_max
for _, name in ipairs { "time", "level", "role", "worker", "message", "held" } do kinds[name] = "taken" end
kinds.shard = "number"

local allowed = { string = true, number = true, boolean = true }

local function problem_of(name, value)
  local kind = kinds[name]
  if type(name) ~= "string" or not name:find "^%l[%l%d_]*$" or #name > 32 then
    return ("the field '%s' needs a name of lower-case letters, digits and _"):format(tostring(name))
  elseif kind == "taken" then
    return ("the field '%s' is the gateway's own; take another name"):format(name)
  elseif not allowed[type(value)] then
    return ("the field '%s' is a %s; fields are strings, numbers, true or false"):format(name, type(value))
  elseif kind and kind ~= type(value) then
    return ("the field '%s' is a %s, as in the gateway's own lines, not a %s"):format(name, kind, type(value))
  end
end

-- Names and values in pairs, in the order of the names.
local function flatten(title, fields)
  local names, flat = {}, {}
  for name, value in pairs(fields) do
    local problem = value ~= core.json.null and problem_of(name, value)
    if problem then error(title .. ": " .. problem, 3) end
    if name ~= "shard" and value ~= core.json.null then names[#names + 1] = name end
  end
  if #names > most then error(("%s: %d fields; %d are the most"):format(title, #names, most), 3) end
  sort(names)
  for i, name in ipairs(names) do flat[2 * i - 1], flat[2 * i] = name, fields[name] end
  return flat
end

-- What has words of its own is an argument like others.
local function are_fields(value)
  if type(value) ~= "table" then return false end
  local meta = getmetatable(value)
  return not (type(meta) == "table" and meta.__tostring)
end

-- A value that is missing at the end is nil, as everywhere in Lua, where
-- string.format alone would raise.
local function format_padded(text, count, ...)
  return pcall(format, text, unpack({ ... }, 1, count + 8))
end

local function formatted(title, text, count, ...)
  if count == 0 then return text end
  local ok, line = pcall(format, text, ...)
  if not ok then ok, line = format_padded(text, count, ...) end
  if not ok then error(("%s: %s"):format(title, line), 3) end
  return line
end

for level, name in ipairs { "debug", "info", "warn", "error" } do
  local title = "gateway.log." .. name
  log[name] = function(text, ...)
    if not core.log_on(level - 1) then return end
    local count = select("#", ...)
    local fields = count > 0 and select(count, ...)
    if not are_fields(fields) then
      core.log(level - 1, tostring(formatted(title, text, count, ...)))
      return
    end
    local flat, arguments = flatten(title, fields), { ... }
    text = formatted(title, text, count - 1, unpack(arguments, 1, count - 1))
    core.log(level - 1, tostring(text), tonumber(fields.shard), unpack(flat))
  end
end

return log
