-- gateway.http and gateway.rest. Both wait; both return nil, err when no answer
-- came (err.code: "timeout", "queue_timeout", "queue_full", "refused", "resolve", "tls", "reset", ...).
--
--   local response, err = gateway.http.post(url, { json = { text = "hello" } })
--   response.status, response.body, response.headers["content-type"], response.data
--
--   local user, err = gateway.rest.get("/users/@me")     decoded; any status but 2xx is nil, err
--   gateway.rest.post({ "interactions", interaction.id, interaction.token, "callback" }, { json = ... })
--
-- Options: headers = {Name = value}, body = string or json = value, timeout,
-- connect_timeout, queue_timeout (ms), max_body (bytes), query = {name = value}.

local core = require "tidegate.core"
local guard = require "tidegate.guard"
local json = core.json

local timeout_default = 10000
local queue_timeout_default = 30000
local body_default = 8 * 1024 * 1024

local option_names = {
  "method", "url", "headers", "body", "json", "query",
  "timeout", "connect_timeout", "queue_timeout", "max_body",
}
local is_option = {}
for _, name in ipairs(option_names) do is_option[name] = true end

-- And the least that makes sense.
local is_number = { timeout = 1, connect_timeout = 1, queue_timeout = 0, max_body = 0 }

local function check_options(name, options)
  if options == nil then return {} end
  if type(options) ~= "table" then
    error(("%s: expected a table of options, got %s"):format(name, type(options)), 4)
  end
  for key, value in pairs(options) do
    if not is_option[key] then
      error(("%s: unknown option '%s'%s"):format(name, tostring(key), guard.suggestion(key, option_names)), 4)
    end
    local least = is_number[key]
    if least and (type(value) ~= "number" or value < least or value > 2 ^ 31 - 1) then
      error(("%s: %s has to be a number from %d on"):format(name, key, least), 4)
    end
  end
  return options
end

local function escape(text)
  return (tostring(text):gsub("[^%w%-._~]", function(byte) return ("%%%02X"):format(byte:byte()) end))
end

local function add_query(url, query)
  if not query then return url end
  local parts = {}
  for name, value in pairs(query) do parts[#parts + 1] = escape(name) .. "=" .. escape(value) end
  table.sort(parts)
  if #parts == 0 then return url end
  return url .. (url:find("?", 1, true) and "&" or "?") .. table.concat(parts, "&")
end

-- Discord refuses requests that do not name the library of a bot in this form.
local agents = {
  http = "tidegate/" .. core.version,
  rest = ("DiscordBot (https://github.com/tidegate/tidegate, %s)"):format(core.version),
}

-- Where a secret was meant. Anywhere else the words may be those of a stranger, who must not stop a request.
local function refuse_placeholder(name, what, text, level)
  local key = core.placeholder(text)
  if key then
    error(("%s: %s has the placeholder of %s in it: scripts do not see secrets unless script.secrets = true "
      .. "in gateway.configure; gateway.rest sends the bot's authorization itself"):format(name, what, key),
      level)
  end
end

local function header_lines(name, headers, with_json, authorization)
  local lines, has = {}, {}
  for key, value in pairs(headers or {}) do
    local line = ("%s: %s"):format(key, value)
    if line:find "[\r\n]" then error(("%s: a line break in header '%s'"):format(name, tostring(key)), 4) end
    lines[#lines + 1] = line
    has[tostring(key):lower()] = true
    if not authorization and tostring(key):lower() == "authorization" then
      refuse_placeholder(name, "the header Authorization", line, 5)
    end
  end
  if with_json and not has["content-type"] then lines[#lines + 1] = "Content-Type: application/json" end
  if authorization and not has.authorization then lines[#lines + 1] = "Authorization: " .. authorization end
  if not has["user-agent"] then
    lines[#lines + 1] = "User-Agent: " .. (authorization and agents.rest or agents.http)
  end
  return lines
end

local function parse_headers(text)
  local headers = {}
  for key, value in text:gmatch "([^\r\n:]+):[ \t]*([^\r\n]*)" do
    key = key:lower()
    headers[key] = headers[key] and headers[key] .. ", " .. value or value
  end
  return headers
end

-- The body as JSON, decoded when it is first asked for.
local response_meta = {
  __index = function(self, name)
    if name ~= "data" then return nil end
    local data = json.decode(self.body)
    rawset(self, "data", data)
    return data
  end,
}

local function request(name, method, url, options, authorization)
  if type(url) ~= "string" then error(("%s: expected a URL, got %s"):format(name, type(url)), 3) end
  options = check_options(name, options)
  refuse_placeholder(name, "the login of the URL", url:match "^%w+://([^/]*)@" or "", 4)
  local body = options.body
  if options.json ~= nil then
    if body ~= nil then error(name .. ": give body or json, not both", 3) end
    body = json.encode(options.json)
  end
  if body ~= nil and type(body) ~= "string" then
    error(("%s: body is a string, not a %s; for tables use json"):format(name, type(body)), 3)
  end
  local timeout = options.timeout or timeout_default
  local status, answer, head, retry_after, seconds = core.http(name, method, add_query(url, options.query),
    header_lines(name, options.headers, options.json ~= nil, authorization), body, timeout,
    options.connect_timeout or timeout, options.max_body or body_default,
    options.queue_timeout or queue_timeout_default)
  if not status then return nil, answer end
  return setmetatable({
    status = status,
    body = answer,
    headers = parse_headers(head),
    retry_after = retry_after >= 0 and retry_after or nil,
    seconds = seconds,
  }, response_meta)
end

local http, rest = {}, {}

function http.request(options)
  if type(options) ~= "table" then error("gateway.http.request: expected a table of options", 2) end
  local method = (options.method or "GET"):upper()
  local response, err = request("gateway.http.request", method, options.url, options)
  return response, err
end

local function failure_of(name, response)
  local data = response.data
  local words = type(data) == "table" and data.message
  if type(words) ~= "string" then words = response.body:match("^[^\r\n]*"):sub(1, 200) end
  local _, err = core.failure(response.status == 429 and "rate_limited" or "status",
    ("%s: answered %d: %s"):format(name, response.status, words))
  err.status, err.data, err.retry_after = response.status, data, response.retry_after
  return nil, err
end

local function join_parts(name, parts)
  local escaped, count = {}, 0
  for _ in pairs(parts) do count = count + 1 end
  for i = 1, count do
    local part = parts[i]
    if type(part) ~= "string" and type(part) ~= "number" then
      error(("%s: part %d of the path is a %s; expected a string or a number"):format(name, i, type(part)), 5)
    end
    escaped[i] = escape(part)
  end
  return "/" .. table.concat(escaped, "/")
end

-- "." and ".." lead to another path, also if their dots are escaped: who has chosen such a part was not the
-- script.
local function leads_elsewhere(path)
  for part in path:match("^/([^?#]*)"):gmatch "[^/]+" do
    local plain = part:gsub("%%2[Ee]", ".")
    if plain == "." or plain == ".." then return true end
  end
  return false
end

local function path_of(name, path)
  local is_list = type(path) == "table"
  if is_list then path = join_parts(name, path) end
  if type(path) ~= "string" or path:sub(1, 1) ~= "/" then
    error(name .. ': expected a path that starts with "/", or a list of its parts', 4)
  end
  if leads_elsewhere(path) or (is_list and (path .. "/"):find("//", 1, true)) then
    local _, err = core.failure("bad_url", ('%s: a part of the path is "", "." or ".."'):format(name))
    return nil, err
  end
  return path
end

local function call_rest(name, method, path, options)
  local problem
  path, problem = path_of(name, path)
  if not path then return nil, problem end
  local base, authorization = core.rest()
  local response, err = request(name, method, base .. path, options, authorization)
  if not response then return nil, err end
  if response.status < 200 or response.status > 299 then return failure_of(name, response) end
  if response.body == "" then return true, response end
  local data
  data, problem = json.decode(response.body)
  if data == nil then return nil, problem end
  return data, response
end

function rest.request(method, path, options)
  local data, extra = call_rest("gateway.rest.request", method, path, options)
  return data, extra
end

for _, method in ipairs { "get", "post", "put", "patch", "delete" } do
  local http_name, rest_name, verb = "gateway.http." .. method, "gateway.rest." .. method, method:upper()
  http[method] = function(url, options)
    local response, err = request(http_name, verb, url, options)
    return response, err
  end
  rest[method] = function(path, options)
    local data, extra = call_rest(rest_name, verb, path, options)
    return data, extra
  end
end

return { http = http, rest = rest }
