-- Which plugins there are, for `tidegate plugin list`: in trees of rocks, and built in.

local rocks = require "tidegate.rocks"

local function embedded(list)
  for module in pairs(package.preload) do
    local name = tostring(module):match "^tidegate%.plugins%.(.+)%.handler$"
    if name then list[#list + 1] = { plugin = name, version = require(module).VERSION, from = "built in" } end
  end
end

-- Of these trees (nil: of those that scripts find), and of what is built in, if `all`: { plugins = { { plugin
-- =, version =, from = }, ... }, problems = { "..." } }. By name; of equal ones scripts get the first.
return function(trees, all)
  local found, problems = rocks.list(trees)
  local plugins = {}
  for _, rock in ipairs(found) do
    local name = rock.rock:match "^tidegate%-plugin%-(.+)$"
    if name then plugins[#plugins + 1] = { plugin = name, version = rock.version, from = rock.tree } end
  end
  if all then embedded(plugins) end
  for i, one in ipairs(plugins) do one.order = i end
  table.sort(plugins, function(a, b)
    if a.plugin ~= b.plugin then return a.plugin < b.plugin end
    return a.order < b.order
  end)
  for _, one in ipairs(plugins) do one.order = nil end
  return { plugins = plugins, problems = problems }
end
