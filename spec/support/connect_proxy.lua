-- An HTTP proxy in the spec process: CONNECT, and requests with a whole URL.
--
--   local proxy = connect_proxy.start { hosts = { ["gateway.discord.test"] = fake.gateway } }
--   proxy.url                    http://127.0.0.1:3128
--   proxy.requests               all so far: { method, target, headers (names in lower case) }
--   proxy:targets "CONNECT"      how often each target was asked for: { ["discord.test:443"] = 2 }
--
-- hosts: where names lead that only the proxy knows, as URLs; others lead where they say. login:
-- "user:password" that it wants. policy(request): asked for each request; what it returns is done in place of
-- letting it pass: a status to answer, "mute", "close" (without an answer), or text to send. May be changed:
-- proxy.policy, proxy.login.
--
-- connect_proxy.cleanup() for after_each.

local loop = require "spec.support.loop"
local uv = require "luv"

local connect_proxy = {}

local Proxy = {}
Proxy.__index = Proxy

local opened = {}

local REASONS = { [403] = "Forbidden", [407] = "Proxy Authentication Required", [502] = "Bad Gateway" }

local BASE64 = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"

local function base64(text)
  local out = {}
  for i = 1, #text, 3 do
    local a, b, c = text:byte(i, i + 2)
    local n = a * 65536 + (b or 0) * 256 + (c or 0)
    for k = 3, 0, -1 do
      local digit = math.floor(n / 64 ^ k) % 64
      out[#out + 1] = (k == 1 and not b or k == 0 and not c) and "=" or BASE64:sub(digit + 1, digit + 1)
    end
  end
  return table.concat(out)
end

local function parse_head(text)
  local method, target = text:match "^(%u+) (%S+) HTTP/1%.1\r\n"
  local headers = {}
  for name, value in text:gmatch "\r\n([^:\r\n]+): *([^\r\n]*)" do
    headers[name:lower()] = value
  end
  return { method = method, target = target, headers = headers }
end

local function close(proxy, handle)
  if proxy.handles[handle] then
    proxy.handles[handle] = nil
    handle:close()
  end
end

-- Both ways until one end closes.
local function join(proxy, client, server)
  local function pass(from, to)
    from:read_start(function(_, chunk)
      if chunk and proxy.handles[to] then
        to:write(chunk)
      elseif not chunk then
        close(proxy, from)
        close(proxy, to)
      end
    end)
  end
  pass(client, server)
  pass(server, client)
end

local function connect(proxy, place, done)
  local host = place:match "^[^:]+"
  place = (proxy.hosts[host] or place):gsub("^%w+://", ""):gsub("/.*", "")
  local address, port = place:match "^(.*):(%d+)$"
  local server = uv.new_tcp()
  proxy.handles[server] = true
  address = address == "localhost" and "127.0.0.1" or address
  server:connect(address, tonumber(port), loop.callback(function(problem)
    done(not problem and server or nil)
  end))
end

local function answer(client, status)
  client:write(("HTTP/1.1 %d %s\r\nContent-Length: 0\r\n\r\n"):format(status, REASONS[status] or "Status"))
end

-- One request with a whole URL; the connection is that of the client, so the next one may follow.
local function pass_request(proxy, client, request, head, body)
  local place, path = request.target:match "^http://([^/]+)(.*)$"
  connect(proxy, place:find ":" and place or place .. ":80", function(server)
    if not server then
      answer(client, 502)
      return
    end
    server:write((head:gsub(" http://[^/]+[^ ]*", " " .. path, 1)) .. body)
    server:read_start(function(_, chunk)
      if chunk and proxy.handles[client] then
        client:write(chunk)
      elseif not chunk then
        close(proxy, server)
      end
    end)
  end)
end

local function refused(proxy, client, request)
  if proxy.login and request.headers["proxy-authorization"] ~= "Basic " .. base64(proxy.login) then
    answer(client, 407)
    return true
  end
  local what = proxy.policy and proxy.policy(request)
  if what == "close" then
    close(proxy, client)
  elseif type(what) == "number" then
    answer(client, what)
  elseif what and what ~= "mute" then
    client:write(what)
  end
  return what ~= nil
end

local function serve(proxy, client)
  local text = ""
  client:read_start(loop.callback(function(_, chunk)
    if not chunk then
      close(proxy, client)
      return
    end
    text = text .. chunk
    while true do
      local _, last = text:find("\r\n\r\n", 1, true)
      local request = last and parse_head(text:sub(1, last))
      local length = request and tonumber(request.headers["content-length"] or 0)
      if not request or #text < last + length then
        return
      end
      local head, body = text:sub(1, last), text:sub(last + 1, last + length)
      text = text:sub(last + length + 1)
      proxy.requests[#proxy.requests + 1] = request
      if refused(proxy, client, request) then
        return
      elseif request.method == "CONNECT" then
        client:read_stop()
        connect(proxy, request.target, function(server)
          if server then
            client:write "HTTP/1.1 200 Connection established\r\n\r\n"
            join(proxy, client, server)
          else
            answer(client, 502)
          end
        end)
        return
      end
      pass_request(proxy, client, request, head, body)
    end
  end))
end

function Proxy:targets(method)
  local found = {}
  for _, request in ipairs(self.requests) do
    if request.method == method then
      found[request.target] = (found[request.target] or 0) + 1
    end
  end
  return found
end

-- Nobody listens any more, and all connections are cut.
function Proxy:close()
  for handle in pairs(self.handles) do
    handle:close()
  end
  self.handles = {}
end

function connect_proxy.start(options)
  options = options or {}
  local self = setmetatable({
    hosts = options.hosts or {}, login = options.login, policy = options.policy, requests = {}, handles = {},
  }, Proxy)
  local listener = uv.new_tcp()
  self.handles[listener] = true
  assert(listener:bind("127.0.0.1", 0))
  assert(listener:listen(128, loop.callback(function(problem)
    assert(not problem, problem)
    local client = uv.new_tcp()
    self.handles[client] = true
    listener:accept(client)
    serve(self, client)
  end)))
  self.port = listener:getsockname().port
  self.url = "http://127.0.0.1:" .. self.port
  opened[#opened + 1] = self
  return self
end

function connect_proxy.cleanup()
  for _, self in ipairs(opened) do
    self:close()
  end
  opened = {}
end

return connect_proxy
