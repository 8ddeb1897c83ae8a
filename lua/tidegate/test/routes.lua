-- What a plugin serves, in plain busted: as the gateway's control API finds it and answers.

local cjson = require "cjson.safe"

local routes = {}

local DEADLINE = 30000

-- ---- registering ----

-- Of two that fit, the one that says the part itself comes first.
local function key_of(route) return (route.path:gsub(":[^/]*", "\127")) end

function routes.add(list, plugin, method, path, fn)
  if type(method) ~= "string" or not method:find "^%u+$" then
    error("self:route: expected a method, as \"GET\", got " .. tostring(method), 0)
  elseif type(path) ~= "string" or path:sub(1, 1) ~= "/" then
    error(("self:route: '%s' does not begin with a '/'"):format(tostring(path)), 0)
  elseif type(fn) ~= "function" then
    error(("self:route: expected a function for %s %s, got %s"):format(method, path, type(fn)), 0)
  end
  local route = { method = method, path = "/" .. plugin .. path, fn = fn,
                  what = ("route %s %s (plugin %s)"):format(method, path, plugin) }
  local key = key_of(route)
  for _, other in ipairs(list) do
    if other.method == method and key_of(other) == key then
      error(("self:route: %s %s is served already"):format(method, path), 0)
    end
  end
  table.insert(list, route)
  table.sort(list, function(a, b) return key_of(a) < key_of(b) end)
end

-- ---- finding ----

local function decoded(text)
  return (text:gsub("%%(%x%x)", function(digits) return string.char(tonumber(digits, 16)) end))
end

local function split(path)
  local parts = {}
  for part in (path .. "/"):gmatch "(.-)/" do parts[#parts + 1] = part end
  return parts
end

-- The values of the route's parameters, or nil: the path is another.
local function fits(route, parts)
  local wanted, params = split(route.path), {}
  if #wanted ~= #parts then return nil end
  for i, part in ipairs(wanted) do
    local name = part:match "^:(.*)"
    if name and parts[i] == "" or not name and part ~= decoded(parts[i]) then return nil end
    if name then params[name] = decoded(parts[i]) end
  end
  return params
end

local function find(list, method, path)
  local parts = split(path)
  if #parts == 2 then parts[3] = "" end -- "/x" is as "/x/"
  local allow = {}
  for _, route in ipairs(list) do
    local params = fits(route, parts)
    if params and route.method == method then return route, params end
    if params then allow[#allow + 1] = route.method end
  end
  return nil, allow
end

local function read_query(text)
  local query = {}
  for pair in text:gmatch "[^&]+" do
    local name, value = pair:match "^([^=]*)=?(.*)$"
    query[decoded((name:gsub("+", " ")))] = decoded((value:gsub("+", " ")))
  end
  return query
end

-- ---- asking ----

-- What JSON makes of it.
local function as_json(value)
  local text, problem = cjson.encode(value)
  if not text then return nil, "it returned what JSON cannot carry: " .. tostring(problem) end
  return cjson.decode(text)
end

local function answer_of(value, second)
  if value == nil and second ~= nil and type(second) ~= "number" then
    local code = type(second) == "table" and second.code or "failed"
    local message = type(second) == "table" and second.message or tostring(second)
    return { status = 500, body = { error = message, code = code } }
  end
  if value == nil then return { status = second or 204 } end
  local body, problem = as_json(value)
  if problem then return nil, problem end
  return { status = second or 200, body = body }
end

local function failed(kit, route, problem)
  kit:note_error(route.what, problem)
  return { status = 500, body = { error = route.what .. " failed", code = "failed" } }
end

-- Calls it as the control API does; `step(limit)` lets time pass up to the next thing that is due.
function routes.ask(kit, core, step, method, target, body)
  local path, query = target:match "^/plugins([^?]*)%??(.*)$"
  if not path then error("kit:route: expected a path below /plugins, got " .. target, 3) end
  local route, params = find(core.routes, method == "HEAD" and "GET" or method, path)
  if not route then
    if #params > 0 then return { status = 405, allow = table.concat(params, ", ") } end
    return { status = 404, body = { error = "no plugin serves " .. target } }
  end
  local request = { method = method, path = path:match "^/[^/]*(/.*)$" or "/", query = read_query(query),
                    params = params, body = body ~= nil and as_json(body) or nil }
  local answer
  core.run(core, route.what, function()
    local ok, value, second = xpcall(route.fn, debug.traceback, request)
    local problem = value
    if ok then answer, problem = answer_of(value, second) end
    answer = answer or failed(kit, route, problem)
  end)
  local limit = core.time + DEADLINE
  while not answer and step(core, limit) do end -- luacheck: ignore 542
  if answer then return answer end
  kit:note_error(route.what, "it has not returned within 30 s")
  return { status = 504, body = { error = route.what .. " has not answered within 30 s", code = "timeout" } }
end

return routes
