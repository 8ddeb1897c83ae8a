-- What a plugin may be configured with: typed fields, checked all at once, each mistake with its path.
--
--   return { fields = {
--     channels = { type = "array", elements = { type = "string", match = "^%d+$" }, default = {} },
--     url = { type = "string", required = true, secret = true, reference = true },
--   } }
--
-- Types: string, integer, number, boolean, array (elements), map (keys, values), record (fields). Of any:
-- required, default, one_of, description. Of strings: match (a Lua pattern), secret, and reference: the
-- value may be { env = "NAME" } or { file = "/path" }, which is read when the plugin loads. between =
-- { least, most } is about the value of numbers, and the length of strings and arrays.
--
-- This file needs nothing of the host, so that a plugin's own specs may use it.

local schema = {}

local check_value

-- ---- words ----

local function shown(value)
  if type(value) == "string" then return (("%q"):format(value):gsub("\\\n", "\\n")) end
  if type(value) == "table" then return "a table" end
  return tostring(value)
end

local article = { integer = "an integer", array = "a list" }

local function expected(field)
  return article[field.type] or "a " .. field.type
end

local function sorted_keys(fields)
  local names = {}
  for name in pairs(fields) do names[#names + 1] = tostring(name) end
  table.sort(names)
  return names
end

-- How many single changes lead from one word to the other, but at most 3.
local function distance(a, b)
  if math.abs(#a - #b) > 2 then return 3 end
  local row = {}
  for j = 0, #b do row[j] = j end
  for i = 1, #a do
    local before = row[0]
    row[0] = i
    for j = 1, #b do
      local same = a:byte(i) == b:byte(j) and 0 or 1
      before, row[j] = row[j], math.min(row[j] + 1, row[j - 1] + 1, before + same)
    end
  end
  return math.min(row[#b], 3)
end

local function suggestion(name, fields)
  local best, least = nil, 3
  for _, known in ipairs(sorted_keys(fields)) do
    local far = distance(tostring(name), known)
    if far < least then best, least = known, far end
  end
  if best then return ("; did you mean '%s'?"):format(best) end
  local known = table.concat(sorted_keys(fields), ", ")
  return known == "" and "; it has no configuration" or "; known: " .. known
end

-- ---- one value ----

local function is_list(value)
  if type(value) ~= "table" then return false end
  local count = 0
  for _ in pairs(value) do count = count + 1 end
  return count == #value
end

local is_of_type = {
  string = function(value) return type(value) == "string" end,
  integer = function(value) return type(value) == "number" and value % 1 == 0 end,
  number = function(value) return type(value) == "number" and value == value end,
  boolean = function(value) return type(value) == "boolean" end,
  array = is_list,
  map = function(value) return type(value) == "table" end,
  record = function(value) return type(value) == "table" end,
}

local function read_file(path)
  local file, problem = io.open(path, "r")
  if not file then return nil, problem end
  local text = file:read "*a"
  file:close()
  if not text then return nil, path .. ": it cannot be read" end
  return (text:gsub("%s+$", ""))
end

-- The value that { env = } or { file = } stands for.
local function follow(reference)
  local key, at = next(reference)
  if next(reference, key) ~= nil or type(at) ~= "string" or (key ~= "env" and key ~= "file") then
    return nil, "expected a string, { env = \"NAME\" } or { file = \"/path\" }"
  end
  if key == "file" then return read_file(at) end
  local value = os.getenv(at)
  if not value or value == "" then return nil, ("the environment variable %s is not set"):format(at) end
  return value
end

local function check_bounds(field, value, say)
  local between = field.between
  if not between then return end
  local size = type(value) == "number" and value or #value
  if size >= between[1] and size <= between[2] then return end
  if type(value) == "number" then
    say(("expected %s to %s, got %s"):format(between[1], between[2], value))
  elseif type(value) == "string" then
    say(("expected %s to %s bytes, got %d"):format(between[1], between[2], size))
  else
    say(("expected %s to %s values, got %d"):format(between[1], between[2], size))
  end
end

local function check_choice(field, value, say)
  if not field.one_of then return end
  local choices = {}
  for i, choice in ipairs(field.one_of) do
    if choice == value then return end
    choices[i] = shown(choice)
  end
  say(("expected one of %s, got %s"):format(table.concat(choices, ", "),
    field.secret and "another" or shown(value)))
end

local function check_fields(fields, given, path, problems)
  local made = {}
  for key in pairs(given) do
    if not fields[key] then
      problems[#problems + 1] = ("%s.%s: unknown%s"):format(path, tostring(key), suggestion(key, fields))
    end
  end
  for _, name in ipairs(sorted_keys(fields)) do
    made[name] = check_value(fields[name], given[name], path .. "." .. name, problems)
  end
  return made
end

local inside = {}

function inside.array(field, value, path, problems)
  local made = {}
  for i, element in ipairs(value) do
    made[i] = check_value(field.elements, element, ("%s[%d]"):format(path, i), problems)
  end
  return made
end

function inside.map(field, value, path, problems)
  local made = {}
  for key, element in pairs(value) do
    local at = ("%s[%s]"):format(path, shown(key))
    if field.keys then check_value(field.keys, key, at .. " (the key)", problems) end
    made[key] = check_value(field.values, element, at, problems)
  end
  return made
end

function inside.record(field, value, path, problems)
  return check_fields(field.fields, value, path, problems)
end

local function copy(value)
  if type(value) ~= "table" then return value end
  local made = {}
  for key, element in pairs(value) do made[key] = copy(element) end
  return made
end

function check_value(field, value, path, problems)
  local before = #problems
  local function say(text) problems[#problems + 1] = path .. ": " .. text end
  if value == nil then
    if field.default ~= nil then return copy(field.default) end
    if field.required then say("is required: " .. expected(field)) end
    local missing = {} -- of a record that nobody gave: all of it has defaults, or it stays away
    local made = field.type == "record" and check_fields(field.fields, {}, path, missing)
    return made and #missing == 0 and made or nil
  end
  if field.reference and type(value) == "table" then
    local problem
    value, problem = follow(value)
    if problem then return say(problem) end
  end
  if not is_of_type[field.type](value) then
    return say(("expected %s, got %s"):format(expected(field),
      field.secret and "a " .. type(value) or shown(value)))
  end
  check_choice(field, value, say)
  check_bounds(field, value, say)
  if field.match and not value:find(field.match) then
    local what = field.secret and "the value" or shown(value)
    say(("%s does not match the pattern %s"):format(what, field.match))
  end
  if inside[field.type] then value = inside[field.type](field, value, path, problems) end
  if #problems == before then return value end
end

-- ---- the schema itself ----

local traits = {
  type = true, required = true, default = true, one_of = true, between = true, match = true, secret = true,
  reference = true, elements = true, keys = true, values = true, fields = true, description = true,
}

local needs = { array = "elements", map = "values", record = "fields" }

local check_schema

local function check_field(field, path)
  if type(field) ~= "table" then return path .. ": a field is a table" end
  if not is_of_type[field.type] then
    return ("%s.type: %s is none of string, integer, number, boolean, array, map, record"):format(path,
      shown(field.type))
  end
  for trait in pairs(field) do
    if not traits[trait] then
      return ("%s.%s: unknown%s"):format(path, tostring(trait), suggestion(trait, traits))
    end
  end
  local need = needs[field.type]
  if need and type(field[need]) ~= "table" then
    return ("%s.%s: %s needs it"):format(path, need, expected(field))
  end
  if need == "fields" then return check_schema(field, path) end
  if need then return check_field(field[need], path .. "." .. need) end
end

function check_schema(given, path)
  if type(given) ~= "table" or type(given.fields) ~= "table" then
    return path .. ": expected a table with `fields`"
  end
  for _, name in ipairs(sorted_keys(given.fields)) do
    local problem = check_field(given.fields[name], path .. "." .. name)
    if problem then return problem end
  end
end

-- What is wrong with a schema, or nil.
function schema.problem(given)
  return check_schema(given, "schema")
end

-- A copy of `given` (nil: nothing) with the defaults, or nil and a list of all mistakes; their paths begin
-- with `path`.
function schema.check(rules, given, path)
  local problems = {}
  if given ~= nil and (type(given) ~= "table" or #given > 0) then
    return nil, { ("%s: expected a table of fields, got %s"):format(path, type(given) == "table" and "a list"
      or shown(given)) }
  end
  local made = check_fields(rules.fields, given or {}, path, problems)
  if #problems > 0 then return nil, problems end
  return made
end

-- ---- for people ----

local function masked(field, value)
  if value == nil then return nil end
  if field.secret then return "***" end
  if type(value) ~= "table" then return value end
  local made = {}
  for key, element in pairs(value) do
    local rule = field.elements or field.values or field.fields and field.fields[key]
    made[key] = rule and masked(rule, element)
  end
  return made
end

-- A copy of a checked configuration that may be shown.
function schema.mask(rules, config)
  return masked({ fields = rules.fields }, config)
end

local function collect(field, value, texts)
  if type(value) == "string" and field.secret then texts[#texts + 1] = value end
  if type(value) ~= "table" then return end
  for key, element in pairs(value) do
    local rule = field.elements or field.values or field.fields and field.fields[key]
    if rule then collect(rule, element, texts) end
  end
end

-- The texts of a checked configuration that are not to be seen; the longest first.
function schema.secrets(rules, config)
  local texts = {}
  collect({ fields = rules.fields }, config, texts)
  table.sort(texts, function(a, b) return #a > #b end)
  return texts
end

local function type_of(field)
  if field.type == "array" then return "list of " .. type_of(field.elements) end
  if field.type == "map" then return "map of " .. type_of(field.values) end
  if not field.one_of then return field.type end
  local choices = {}
  for i, choice in ipairs(field.one_of) do choices[i] = shown(choice) end
  return table.concat(choices, ", ")
end

local function literal(value)
  if type(value) ~= "table" then return shown(value) end
  local parts = {}
  for _, element in ipairs(value) do parts[#parts + 1] = literal(element) end
  return #parts > 0 and "{ " .. table.concat(parts, ", ") .. " }" or "{}"
end

local function add_rows(rows, fields, prefix)
  for _, name in ipairs(sorted_keys(fields)) do
    local field = fields[name]
    local default = field.default ~= nil and literal(field.default) or field.required and "required" or ""
    rows[#rows + 1] = { prefix .. name, type_of(field), default, field.description or "" }
    local within = field.type == "record" and field
      or field.elements and field.elements.fields and field.elements
    if within then add_rows(rows, within.fields, prefix .. name .. (field.elements and "[]." or ".")) end
  end
end

-- The rows of a table for people: { name, type, default, description }, in the order of the names.
function schema.rows(rules)
  local rows = {}
  add_rows(rows, rules.fields, "")
  return rows
end

return schema
