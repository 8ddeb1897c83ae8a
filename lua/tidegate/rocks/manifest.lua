-- The manifest of a tree of rocks: what LuaRocks has installed there. It is a file of assignments, Lua in
-- form; everything is checked before any of it is used.
--
--   { ["foo"] = { ["1.2-1"] = { modules = { ["foo.a"] = "foo/a.lua" }, deployed = { ["foo.a"] = true },
--                               needs = { { rock = "bar", constraints = {...}, text = "bar >= 1" } } } } }

local core = require "tidegate.core"
local version = require "tidegate.rocks.version"

local manifest = {}

local PLACE = "/lib/luarocks/rocks-5.1/manifest"
local LARGEST = 2 * 1024 * 1024 -- bytes; a rock takes about 1 KB

-- ---- as a file ----

local function line_of(text, at)
  local _, newlines = text:sub(1, at):gsub("\n", "")
  return newlines + 1
end

local keywords = {}
for word in ([[and break do else elseif end for function goto if in local not or repeat return then until
  while]]):gmatch "%a+" do
  keywords[word] = true
end

-- The first thing in it that is more than tables, texts and numbers, and its line; nil: there is none. What
-- begins a long string or a comment is found here, so that nothing can hide in what is taken for a string.
local function find_code(text)
  local bare = text:gsub("\\.", ""):gsub('"[^"\n]*"', '""')
  for _, pattern in ipairs { "[^%w%s_%[%]{}=,;.\"-]", "%-%-", "%[=*%[", "%.%." } do
    local from, to = bare:find(pattern)
    if from then return bare:sub(from, to), line_of(bare, from) end
  end
  for from, word in bare:gmatch "()([%a_][%w_]*)" do
    if keywords[word] then return word, line_of(bare, from) end
  end
end

-- The manifest's variables; or nil and what is wrong.
local function evaluate(text)
  local code, line = find_code(text)
  if code then return nil, ("line %d: '%s' has no place in a manifest"):format(line, code) end
  local chunk, problem = loadstring(text, "=line")
  if not chunk then return nil, (problem:gsub("^line:(%d+):", "line %1:")) end
  local made = {}
  local ok
  ok, problem = pcall(setfenv(chunk, made))
  if not ok then return nil, (tostring(problem):gsub("^line:(%d+):", "line %1:")) end
  return made
end

-- ---- as a table ----

local function expect(value, kind, where, ...)
  if type(value) ~= kind then
    error(("%s is %s instead of a %s"):format(where:format(...), value == nil and "missing"
      or "a " .. type(value), kind), 0)
  end
  return value
end

local function words_of(need)
  local parts = {}
  for i, constraint in ipairs(need.constraints) do parts[i] = constraint.op .. " " .. constraint.version end
  return #parts == 0 and need.rock or need.rock .. " " .. table.concat(parts, ", ")
end

local function read_need(given, where)
  expect(given, "table", where)
  local need = { rock = expect(given.name, "string", "%s.name", where), constraints = {} }
  for i, constraint in ipairs(expect(given.constraints or {}, "table", "%s.constraints", where)) do
    expect(constraint, "table", "%s.constraints[%d]", where, i)
    local wanted = constraint.version -- { 1, 2, string = "1.2" }, or the text alone
    if type(wanted) == "table" then wanted = wanted.string end
    expect(wanted, "string", "%s.constraints[%d].version", where, i)
    if not version.is_operator(constraint.op) then
      error(("%s.constraints[%d].op is unknown: %s"):format(where, i, tostring(constraint.op)), 0)
    end
    need.constraints[i] = { op = constraint.op, version = wanted }
  end
  need.text = words_of(need)
  return need
end

-- Of the versions that have a module the first one is deployed under its own name.
local function is_deployed(all, rock, number, module)
  local providers = all.modules and all.modules[module]
  if providers == nil then return true end
  return expect(providers, "table", "modules[%q]", module)[1] == rock .. "/" .. number
end

local function read_version(all, rock, number, installed)
  local where = ("repository[%q][%q]"):format(rock, number)
  local modules = expect(expect(installed, "table", where)[1], "table", "%s[1]", where).modules or {}
  local made = { modules = expect(modules, "table", "%s[1].modules", where), deployed = {}, needs = {} }
  for module, file in pairs(modules) do
    expect(module, "string", "a key of %s[1].modules", where)
    expect(file, "string", "%s[1].modules[%q]", where, module)
    made.deployed[module] = is_deployed(all, rock, number, module)
  end
  local needs = all.dependencies and all.dependencies[rock]
  needs = needs and expect(needs, "table", "dependencies[%q]", rock)[number] or {}
  where = ("dependencies[%q][%q]"):format(rock, number)
  for i, need in ipairs(expect(needs, "table", where)) do
    made.needs[i] = read_need(need, ("%s[%d]"):format(where, i))
  end
  return made
end

local function read_rocks(all)
  local rocks = {}
  for _, name in ipairs { "modules", "dependencies" } do
    if all[name] ~= nil then expect(all[name], "table", name) end
  end
  for rock, versions in pairs(expect(all.repository, "table", "repository")) do
    expect(rock, "string", "a key of repository")
    rocks[rock] = {}
    for number, installed in pairs(expect(versions, "table", "repository[%q]", rock)) do
      expect(number, "string", "a key of repository[%q]", rock)
      rocks[rock][number] = read_version(all, rock, number, installed)
    end
  end
  return rocks
end

-- ---- both ----

local MISSING = { [2] = true, [20] = true } -- ENOENT, ENOTDIR

-- The rocks of a tree, none where there is no manifest; or nil and what is wrong, with the file's name.
function manifest.read(tree)
  local path = tree .. PLACE
  local text, problem, number = core.read_source(path, LARGEST)
  if not text then
    if MISSING[number] then return {} end
    return nil, ("the rocks of the tree %s are left out: %s"):format(tree, problem)
  end
  local ok, all, rocks
  all, problem = evaluate(text)
  if all then
    ok, rocks = pcall(read_rocks, all)
    if ok then return rocks end
    problem = rocks
  end
  return nil, ("the rocks of the tree %s are left out, because its manifest is damaged: %s: %s (a new one is "
    .. "made by: luarocks-admin --lua-version=5.1 --tree=%s make_manifest --local-tree)"):format(tree, path,
    problem, tree)
end

return manifest
