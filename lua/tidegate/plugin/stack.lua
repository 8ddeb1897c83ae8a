-- Overrides of several plugins on one method: the one with the highest PRIORITY is asked first, of equals the
-- one whose name comes first. Each gets `next`, the one behind it; behind the last stands what the script
-- itself assigned, or the default.

local core = require "tidegate.core"
local error, ipairs, select, unpack, xpcall = error, ipairs, select, unpack, xpcall

local stack = {}

local chains = {} -- by table and method

local TOO_OFTEN, WINDOW = 10, 60000 -- errors of one override, ms

local function pack(...) return { n = select("#", ...), ... } end

local function is_before(a, b)
  if a.priority ~= b.priority then return a.priority > b.priority end
  return a.plugin < b.plugin
end

local function remove(chain, link)
  for i, other in ipairs(chain.links) do
    if other == link then return table.remove(chain.links, i) end
  end
end

-- One that fails again and again is left out until the next reload.
local function count_failure(chain, link)
  local _, now = core.now()
  local times = link.errors
  times[#times + 1] = now
  if #times < TOO_OFTEN then return end
  if now - table.remove(times, 1) < WINDOW and not link.off then
    link.off = true
    core.plugin_off(chain.table, chain.method, link.where, TOO_OFTEN)
    remove(chain, link)
  end
end

-- A failing override is left out of this call.
local function note_failure(chain, link, problem)
  core.plugin_fault(chain.table, chain.method, link.where, problem, "the next in line is used")
  count_failure(chain, link)
end

-- One that was over its budget has ended the whole call: that is counted at the next one.
local function count_stopped(chain)
  local where = core.plugin_stopped(chain.table, chain.method)
  for _, link in ipairs(chain.links) do
    if link.where == where then return count_failure(chain, link) end
  end
end

local call

-- Runs the link at `at`, then whatever it calls as next. What it had of next before it failed counts: nothing
-- is done twice. An error of what lies under the plugins is not theirs: it passes through them, to whoever
-- has called the method.
local function call_link(run, at, ...)
  local link, reached = run.links[at], nil
  local function following(...)
    reached = pack(call(run, at + 1, ...))
    return unpack(reached, 1, reached.n)
  end
  local results = pack(xpcall(link.run, link.trace, following, ...))
  if results[1] then return unpack(results, 2, results.n) end
  if run.under_plugins then error(results[2], 0) end
  note_failure(run.chain, link, results[2])
  if reached then return unpack(reached, 1, reached.n) end
  return call(run, at + 1, ...)
end

local function call_base(run, ...)
  local chain = run.chain
  local base = chain.base or core.default_of(chain.table, chain.method)
  run.under_plugins = true
  local results = pack(base(...))
  run.under_plugins = false
  return unpack(results, 1, results.n)
end

-- One call of the method: run = { chain =, links = as they are now, under_plugins = in what lies there }.
function call(run, at, ...)
  if run.links[at] then return call_link(run, at, ...) end
  return call_base(run, ...)
end

-- What stands for the chain in gateway.<table>. A script that replaces a method may keep what was there and
-- call it: from then on that is what lay under the plugins.
local function dispatcher(chain, below)
  local function run(...)
    if chain.current ~= run then
      below = below or core.default_of(chain.table, chain.method)
      return below(...)
    end
    count_stopped(chain)
    return call({ chain = chain, links = { unpack(chain.links) } }, 1, ...)
  end
  return run
end

local function names_of(chain)
  if #chain.links == 1 then return chain.links[1].where end
  local names = {}
  for i, link in ipairs(chain.links) do names[i] = link.plugin end
  return "plugins " .. table.concat(names, ", ")
end

local function put(chain)
  chain.current = dispatcher(chain, chain.base)
  core.stack(chain.table, chain.method, chain.current, names_of(chain))
end

-- The script assigns to a method that plugins have overridden: its function stands behind them.
core.on_rebase(function(name, method, base)
  local chain = chains[name .. ":" .. method]
  chain.base = base
  put(chain)
end)

-- `fn(next, ...)`: link = { plugin = name, priority = n, run = fn, where = "plugin x, handler.lua:12" }.
function stack.add(name, method, link)
  local key = name .. ":" .. method
  local chain = chains[key]
  if not chain then
    chain = { table = name, method = method, links = {}, base = core.assigned(name, method) }
    chains[key] = chain
  end
  link.errors = {}
  link.trace = core.plugin_trace(name, method, link.where)
  table.insert(chain.links, link)
  table.sort(chain.links, is_before)
  put(chain)
end

-- Pairs of plugins whose order on one method only their names decide.
function stack.ties()
  local ties = {}
  for key, chain in pairs(chains) do
    for i = 2, #chain.links do
      local a, b = chain.links[i - 1], chain.links[i]
      if a.priority == b.priority then
        ties[#ties + 1] = ("plugins %s and %s both override gateway.%s with PRIORITY %s: %s is asked first, "
          .. "by its name alone"):format(a.plugin, b.plugin, key, tostring(a.priority), a.plugin)
      end
    end
  end
  table.sort(ties)
  return ties
end

return stack
