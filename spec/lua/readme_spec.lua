-- What the pages say about names is true, and they leave none out: methods, configuration, environment,
-- routes, commands, files. (Metrics: metrics_spec, life-cycle events: life_cycle_spec, fields: logs_spec.)

local pages = require "spec.support.pages"
local paths = require "spec.support.paths"
local process = require "spec.support.process"
local uv = require "luv"

local all = pages.all()
local methods = paths.read(paths.root .. "/src/hooks/methods.h")
local options = paths.read(paths.root .. "/src/config/config_options.c")

after_each(process.cleanup)

local function documented_methods()
  local found = {}
  for _, name in ipairs { "manager", "shard", "delivery", "cache" } do
    for _, cells in ipairs(pages.rows("^`gateway%." .. name .. ":`")) do
      for method in cells[1]:gmatch "`([%l_]+)%(" do
        found[name .. "." .. method] = cells[3]
      end
    end
  end
  return found
end

it("documents each method of the gateway, no other, and whether it waits", function()
  local documented, count = documented_methods(), 0
  for name, method, how in methods:gmatch "X%((%l+), ([%l_]+), [%u_]+, ([%u_ |]+)%)" do
    name, count = name .. "." .. method, count + 1
    assert.equal(how:find "TG_WAITS" and "yes" or "no", documented[name], name)
    documented[name] = nil
  end
  assert.is_true(count > 40)
  assert.is_nil(next(documented))
end)

-- key -> true, of the tables of keys; and what they name as the variable of a row.
local function documented_keys(heading)
  local keys, variables = {}, {}
  for _, cells in ipairs(pages.rows(heading)) do
    for text in cells[1]:gmatch "`([^`]+)`" do
      local stem, list = text:match "^(.-){(.*)}$"
      for key in (list or text):gmatch "[%l_.]+" do
        keys[(stem or "") .. key] = true
      end
    end
    for variable in (cells[2] or ""):gmatch "`(%u[%u_]+)`" do
      variables[variable] = true
    end
  end
  return keys, variables
end

it("documents each configuration key, and no other", function()
  local documented, variables = documented_keys "^key$"
  local count = 0
  for key in options:gmatch 'X%("([%l_.]+)"' do
    assert.is_true(documented[key], key .. " stands in no table of keys")
    documented[key], count = nil, count + 1
  end
  assert.is_true(count > 30)
  assert.is_nil(next(documented))
  for variable in pairs(variables) do
    assert.truthy(options:find('.env = "' .. variable .. '"', 1, true), variable .. " is not read")
  end
end)

it("documents each key of a sink, and no other", function()
  local documented, count = documented_keys "^key of a sink$", 0
  for key in options:gmatch 'S%("([%l_.]+)"' do
    assert.is_true(documented[key], key .. " stands in no table of a sink's keys")
    documented[key], count = nil, count + 1
  end
  assert.is_true(count > 20)
  assert.is_nil(next(documented))
end)

it("names each environment variable", function()
  for variable in options:gmatch '%.env = "([%u_]+)"' do
    assert.truthy(all:find("`" .. variable .. "[`=]"), variable)
  end
end)

it("documents each route of the control API, and no other", function()
  local documented = {}
  for method, path in pages.section "Control API":gmatch "`(%u+) (/[^` ?]*)" do
    documented[method .. " " .. path:gsub("{%l+}", "{}")] = true
  end
  for method, path in paths.read(paths.root .. "/src/control/routes.c"):gmatch '{"(%u+)", "([^"]+)"' do
    local route = method .. " " .. path
    assert.is_true(documented[route], route .. " stands under no route")
    documented[route] = nil
  end
  assert.same({}, documented)
end)

it("names each command", function()
  local help = process.run({ paths.bin "tidegate", "--help" }).stdout
  local count = 0
  for command in help:gmatch "\n  tidegate (%l+)" do
    assert.truthy(all:find("tidegate " .. command, 1, true), command)
    count = count + 1
  end
  assert.is_true(count >= 4)
  help = process.run({ paths.bin "tidegate", "ctl", "--help" }).stdout
  for command in help:gmatch "\n  (%l[%l-]+)" do
    local named = all:find("ctl " .. command, 1, true) or all:find("`" .. command, 1, true)
    assert.truthy(named, "ctl " .. command)
  end
end)

local TOPS = { scripts = true, examples = true, src = true, spec = true, lua = true }

it("names files that exist", function()
  for _, name in ipairs(pages.names()) do
    for path in pages.read(name):gmatch "[%s`(]((%l+)/[%w_/.-]+)" do
      local of_reader = path:find "NAME" or path:find "quiet" -- which is the first plugin
      if TOPS[path:match "^%l+"] and not of_reader then
        assert.truthy(uv.fs_stat(paths.root .. "/" .. path:gsub("[.,]$", "")), name .. ": " .. path)
      end
    end
  end
end)

it("leads to pages and headings that exist", function()
  for _, name in ipairs(pages.names()) do
    for target, heading in pages.read(name):gmatch "%]%(([%w_./-]*)#?([%w_-]*)%)" do
      local folder = target == "" and "" or name:match "^(.*/)" or ""
      local file = uv.fs_realpath(paths.root .. "/" .. (target == "" and name or folder .. target))
      assert.truthy(file, name .. " leads to " .. target)
      if heading ~= "" then
        local found = false
        for text in ("\n" .. paths.read(file)):gmatch "\n#+ ([^\n]+)" do
          found = found or text:lower():gsub("[^%w%- ]", ""):gsub(" ", "-") == heading
        end
        assert.is_true(found, name .. " leads to " .. target .. "#" .. heading)
      end
    end
  end
end)

it("has a front page that is soon read", function()
  local _, lines = pages.read("README.md"):gsub("\n", "")
  assert.is_true(lines < 300, lines .. " lines")
end)
