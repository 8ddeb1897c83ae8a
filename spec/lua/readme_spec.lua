-- What the README says about names is true: methods, configuration, environment, files.

local paths = require "spec.support.paths"
local uv = require "luv"

local readme = paths.read(paths.root .. "/README.md")
local methods = paths.read(paths.root .. "/src/hooks/methods.h")
local options = paths.read(paths.root .. "/src/config/config_options.c")

-- The rows of the tables whose first heading cell matches.
local function rows(heading)
  local found, inside = {}, false
  for line in readme:gmatch "([^\n]*)\n" do
    local cells = {}
    for cell in line:gmatch "|%s*([^|]-)%s*%f[|]" do
      cells[#cells + 1] = cell
    end
    if not line:find "^|" then
      inside = false
    elseif inside and not cells[1]:find "^%-+$" then
      found[#found + 1] = cells
    elseif cells[1] and cells[1]:find(heading) then
      inside = true
    end
  end
  return found
end

local function documented_methods()
  local found = {}
  for _, name in ipairs { "manager", "shard", "delivery", "cache" } do
    for _, cells in ipairs(rows("^`gateway%." .. name .. ":`")) do
      for method in cells[1]:gmatch "`([%l_]+)%(" do
        found[name .. "." .. method] = cells[3]
      end
    end
  end
  return found
end

it("documents methods that exist, and whether they wait", function()
  local documented = documented_methods()
  assert.truthy(documented["shard.heartbeat"])
  for name, waits in pairs(documented) do
    local how = methods:match(("X%%(%s, %s, [%%u_]+, ([%%u_ |]+)%%)"):format(name:match "(%l+)%.([%l_]+)"))
    assert.truthy(how, name .. " is in the README, but no method of the gateway")
    assert.equal(how:find "TG_WAITS" and "yes" or "no", waits, name)
  end
end)

it("documents every configuration key of its tables as the schema has it", function()
  local count = 0
  for _, cells in ipairs(rows "^key$") do
    for text in cells[1]:gmatch "`([^`]+)`" do
      local stem, list = text:match "^(.-){(.*)}$"
      for key in (list or text):gmatch "[%l_.]+" do
        local path = (stem or "") .. key
        assert.truthy(options:find('X("' .. path .. '"', 1, true), path .. " is no configuration key")
        count = count + 1
      end
    end
    for variable in (cells[2] or ""):gmatch "`(%u[%u_]+)`" do
      assert.truthy(options:find('.env = "' .. variable .. '"', 1, true), variable .. " is not read")
    end
  end
  assert.is_true(count > 30)
end)

it("names all environment variables but those of the control API", function()
  for variable in options:gmatch '%.env = "([%u_]+)"' do
    if not variable:find "^TIDEGATE_CONTROL" and variable ~= "TIDEGATE_ROCKS_TREES" then
      assert.truthy(readme:find("`" .. variable .. "`", 1, true), variable .. " is not in the README")
    end
  end
end)

it("names files that exist", function()
  for path in readme:gmatch "[%s`(]((%l+)/[%w_/.-]+)" do
    local top = path:match "^%l+"
    if top == "scripts" or top == "examples" or top == "src" or top == "spec" and not path:find "NAME" then
      assert.truthy(uv.fs_stat(paths.root .. "/" .. path:gsub("[.,]$", "")), path)
    end
  end
end)
