-- Versions of rocks and constraints on them, ordered and read as LuaRocks does it.

local version = {}

-- Words count as numbers: those of unfinished versions come before the finished one, development after all.
local words = { dev = 120000000, scm = 110000000, cvs = 100000000, rc = -1000, pre = -10000, beta = -100000,
                alpha = -1000000 }

-- "1.0beta2-3" -> { 1, 0, -99999.99998, revision = 3 }
local function parse(text)
  local parsed, word = {}, nil
  local rest = text:match "^%s*(.-)%s*$"
  local main, revision = rest:match "^(.*)%-(%d+)$"
  if main then rest, parsed.revision = main, tonumber(revision) end
  while rest ~= "" do
    local number, letters, after
    number, after = rest:match "^(%d+)[%.%-_]*(.*)$"
    if number then
      parsed[#parsed + 1] = word and word + tonumber(number) / 100000 or tonumber(number)
      word = nil
    else
      letters, after = rest:match "^(%a+)[%.%-_]*(.*)$"
      if not letters then break end
      parsed[#parsed + 1] = word
      word = words[letters] or letters:byte() / 1000
    end
    rest = after
  end
  parsed[#parsed + 1] = word
  return parsed
end

-- A revision counts only if both have one.
local function order(a, b)
  for i = 1, math.max(#a, #b) do
    local x, y = a[i] or 0, b[i] or 0
    if x ~= y then return x - y end
  end
  return a.revision and b.revision and a.revision - b.revision or 0
end

-- "1.2" has the same beginning as 1.2, 1.2.5 and 1.2-3.
local function begins_with(whole, beginning)
  for i, number in ipairs(beginning) do
    if (whole[i] or 0) ~= number then return false end
  end
  return not beginning.revision or beginning.revision == whole.revision
end

local function is_equal(a, b) return #a == #b and order(a, b) == 0 end

local operators = {
  ["=="] = is_equal,
  ["~="] = function(a, b) return not is_equal(a, b) end,
  ["<"] = function(a, b) return order(a, b) < 0 end,
  ["<="] = function(a, b) return order(a, b) <= 0 end,
  [">"] = function(a, b) return order(a, b) > 0 end,
  [">="] = function(a, b) return order(a, b) >= 0 end,
  ["~>"] = begins_with,
}
operators[""], operators["="], operators["!="] = operators["=="], operators["=="], operators["~="]

-- Whether `a` is the newer one; both are texts.
function version.is_newer(a, b) return order(parse(a), parse(b)) > 0 end

-- ">= 1, < 2" -> { { op = ">=", version = "1" }, { op = "<", version = "2" } }; or nil and what is wrong.
function version.constraints(text)
  local list, rest = {}, text:match "^%s*(.*)$"
  while rest ~= "" do
    local op, number, after = rest:match "^@?([<>=~!]*)%s*([%w%._%-]+)[%s,]*(.*)$"
    if not op or not operators[op] or not number:find "^%w" then
      return nil, ('"%s" is no constraint on versions; write one like "~> 1.2" or ">= 1, < 3"'):format(text)
    end
    list[#list + 1] = { op = op, version = number }
    rest = after
  end
  return list
end

function version.fits(text, constraints)
  local parsed = parse(text)
  for _, constraint in ipairs(constraints) do
    if not operators[constraint.op](parsed, parse(constraint.version)) then return false end
  end
  return true
end

function version.is_operator(op) return operators[op] ~= nil end

return version
