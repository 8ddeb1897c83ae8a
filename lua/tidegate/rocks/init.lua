-- Rocks: what LuaRocks has installed in trees. LuaRocks itself is not needed here: each tree has a manifest.
--
--   rocks.use("tidegate-plugin-drop-bots", "~> 1.2") -> { version = "1.2.0-1", tree = "/usr/local" }
--
-- From then on `require` finds the modules of that version, and those of the rocks that it needs. Who has not
-- been asked for is found by package.path, in the version that LuaRocks has put there.

local core = require "tidegate.core"
local manifest = require "tidegate.rocks.manifest"
local version = require "tidegate.rocks.version"

local rocks = {}

-- What every program of this kind has, whatever LuaRocks knows of it.
local provided = { lua = true, luajit = true, luabitop = true, tidegate = true }

local chosen = {} -- rock -> { version =, tree =, by = the rock that needs it, or nil }
local files = {}  -- module -> { path =, native =, of = "rock 1.2-1" }
local missing = {} -- texts

-- ---- trees ----

-- Large manifests are not kept for the life of a script.
local manifests = setmetatable({}, { __mode = "v" })
local damaged = {} -- tree -> text, or false

-- The rocks of a tree: none, and a line in the log, where the manifest is damaged.
local function rocks_of(tree)
  local list = manifests[tree]
  if list then return list end
  if damaged[tree] then return {} end
  local problem
  list, problem = manifest.read(tree)
  if problem then core.log(2, problem) end
  manifests[tree], damaged[tree] = list, problem or false
  return list or {}
end

local function newest_first(versions)
  local list = {}
  for number in pairs(versions) do list[#list + 1] = number end
  table.sort(list, function(a, b)
    if version.is_newer(a, b) then return true end
    return not version.is_newer(b, a) and a > b
  end)
  return list
end

-- ---- choosing ----

local choose

-- Where LuaRocks puts the file of a version that is not the deployed one: foo_1_2_1-foo/a.lua.
local function path_of(tree, rock, number, module, file, deployed)
  local native = not file:find "%.lua$"
  if not deployed[module] then
    file = ("%s_%s"):format(rock, number):gsub("[%-%.]", "_") .. "-" .. file
  end
  return tree .. (native and "/lib/lua/5.1/" or "/share/lua/5.1/") .. file, native
end

-- Takes this version, and what it needs. Nil and a text: what it needs cannot be had together with the rest.
local function take(rock, number, tree, installed, by)
  local name = rock .. " " .. number
  chosen[rock] = { version = number, tree = tree, by = by }
  for module, file in pairs(installed.modules) do
    if not files[module] then
      local path, native = path_of(tree, rock, number, module, file, installed.deployed)
      files[module] = { path = path, native = native, of = name }
    end
  end
  for _, need in ipairs(installed.needs) do
    if not provided[need.rock] then
      local found, problem = choose(need.rock, need.constraints, name)
      if problem then return nil, ("%s needs %s: %s"):format(name, need.text, problem) end
      if not found then missing[#missing + 1] = ("%s, which %s needs"):format(need.text, name) end
    end
  end
  return chosen[rock]
end

-- Trees that come first win; in a tree the newest version that fits.
function choose(rock, constraints, by)
  local one = chosen[rock]
  if one then
    if version.fits(one.version, constraints) then return one end
    return nil, ("version %s is in use already%s, and there can be one only; load first what needs the older "
      .. "one"):format(one.version, one.by and ", for " .. one.by or "")
  end
  local others = {}
  for _, tree in ipairs(core.rocks_trees()) do
    local versions = rocks_of(tree)[rock] or {}
    for _, number in ipairs(newest_first(versions)) do
      if version.fits(number, constraints) then return take(rock, number, tree, versions[number], by) end
      others[#others + 1] = ("%s in %s"):format(number, tree)
    end
  end
  if #others > 0 then return nil, "no version fits; there is " .. table.concat(others, ", ") end
end

-- Makes `require` find the modules of the newest version that fits, and of what that needs. Nil: no tree has
-- the rock, in no version; nil and a text: it cannot be used, and why.
function rocks.use(rock, constraint)
  local constraints, problem = version.constraints(constraint or "")
  if not constraints then return nil, problem end
  local one
  one, problem = choose(rock, constraints)
  if problem then
    return nil, ("%s%s: %s"):format(rock, constraint and " " .. constraint or "", problem)
  end
  return one and { version = one.version, tree = one.tree }
end

-- Whether a version, such as a plugin's VERSION, fits a constraint.
function rocks.fits(number, constraint)
  local constraints, problem = version.constraints(constraint)
  if not constraints then error(problem, 0) end
  return version.fits(number, constraints)
end

-- ---- loading ----

-- The file of a module that belongs to a rock in use, whether it is native, and which rock that is.
function rocks.find(module)
  local file = files[module] or files[module .. ".init"]
  if file then return file.path, file.native, file.of end
end

-- For the message of `require`: why a module may be nowhere.
function rocks.missing()
  local text = {}
  for i, need in ipairs(missing) do text[i] = "\n\tno tree has the rock " .. need end
  return table.concat(text)
end

-- ---- telling ----

-- { { rock =, version =, tree = }, ... } of these trees, or of those that scripts find: the first one of a
-- rock is what use() takes when nobody asks for another version. Then a list of what is wrong with manifests.
function rocks.list(trees)
  local list, problems = {}, {}
  for _, tree in ipairs(trees or core.rocks_trees()) do
    local found, names = rocks_of(tree), {}
    for rock in pairs(found) do names[#names + 1] = rock end
    table.sort(names)
    for _, rock in ipairs(names) do
      for _, number in ipairs(newest_first(found[rock])) do
        list[#list + 1] = { rock = rock, version = number, tree = tree }
      end
    end
    problems[#problems + 1] = damaged[tree] or nil
  end
  return list, problems
end

-- What is wrong with manifests, one text each.
function rocks.warnings()
  local _, problems = rocks.list()
  return problems
end

return rocks
