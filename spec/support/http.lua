-- HTTP/1.1 for specs, on luv: requests that wait for their answer, and servers.
--
--   local response = http.request("POST", fake.admin .. "/faults", { json = { ... } })
--   assert.equal(200, response.status)
--
--   local server = http.serve(function(request) return 200, { ["X-Name"] = "value" }, "body" end)
--
-- URLs are http://127.0.0.1:8080/path or http+unix:///path/to.sock:/path. A handler that returns nothing
-- answers later with request:respond(status, headers, body), or breaks the connection with request:reset(),
-- or in the midst of its answer with request:respond_half(status). Requests of one connection are handled one
-- after the other. server.on_head(headers), if set, is asked before the body is read: true breaks the
-- connection.

local cjson = require "cjson"
local http_reader = require "spec.support.http_reader"
local loop = require "spec.support.loop"
local uv = require "luv"

local http = {}

local REASONS = {
  [200] = "OK", [201] = "Created", [202] = "Accepted", [204] = "No Content", [301] = "Moved Permanently",
  [400] = "Bad Request", [401] = "Unauthorized", [403] = "Forbidden", [404] = "Not Found",
  [408] = "Request Timeout", [425] = "Too Early", [429] = "Too Many Requests",
  [500] = "Internal Server Error", [502] = "Bad Gateway", [503] = "Service Unavailable",
}

-- Where a URL leads: {host, port | unix, path, name}.
function http.parse_url(url)
  local unix, path = url:match "^http%+unix://(/[^:]*):?(/?.*)$"
  if unix then
    return { unix = unix, path = path ~= "" and path or "/", name = "localhost" }
  end
  local host, port, rest = url:match "^http://([^:/]+):?(%d*)(/?.*)$"
  if not host then
    error(("%q is no http:// or http+unix:// URL"):format(url), 3)
  end
  return {
    host = host == "localhost" and "127.0.0.1" or host,
    port = tonumber(port) or 80,
    path = rest ~= "" and rest or "/",
    name = port ~= "" and host .. ":" .. port or host,
  }
end

local function header_lines(headers)
  local lines = {}
  for name, value in pairs(headers or {}) do
    lines[#lines + 1] = ("%s: %s\r\n"):format(name, value)
  end
  return table.concat(lines)
end

local function connect(target, done)
  if target.unix then
    local pipe = uv.new_pipe(false)
    pipe:connect(target.unix, done)
    return pipe
  end
  local tcp = uv.new_tcp()
  tcp:connect(target.host, target.port, done)
  return tcp
end

local function request_text(method, target, options)
  local headers = {}
  for name, value in pairs(options.headers or {}) do
    headers[name] = value
  end
  local body = options.body
  if options.json ~= nil then
    body = cjson.encode(options.json)
    headers["Content-Type"] = headers["Content-Type"] or "application/json"
  end
  if body or method ~= "GET" then
    headers["Content-Length"] = #(body or "")
  end
  headers.Host = headers.Host or target.name
  return ("%s %s HTTP/1.1\r\nConnection: close\r\n%s\r\n%s"):format(
    method, target.path, header_lines(headers), body or "")
end

local function decode_body(response)
  return cjson.decode(response.body)
end

-- options: headers, body, json, timeout (ms). Returns {status, headers (names in lower case), body, json()},
-- or nil and the reason when there was no answer.
function http.request(method, url, options)
  options = options or {}
  local target = http.parse_url(url)
  local response, problem
  local stream
  local reader = http_reader.new(function(reader)
    local start, headers = reader:head()
    local status = tonumber(start:match "^HTTP/1%.%d (%d+)")
    local empty = method == "HEAD" or status == 204 or status == 304
    response = {
      status = status,
      headers = headers,
      body = empty and "" or reader:body(headers, true),
      json = decode_body,
    }
  end)
  reader:start()
  stream = connect(target, loop.callback(function(failed)
    if failed then
      problem = failed
      return
    end
    stream:write(request_text(method, target, options))
    stream:read_start(loop.callback(function(broken, chunk)
      reader:feed(chunk)
      if not response and not chunk then
        problem = broken or "closed without an answer"
      end
    end))
  end))
  local ok, trouble = pcall(loop.wait_for, ("an answer to %s %s"):format(method, url), function()
    return response or problem
  end, options.timeout)
  stream:close()
  if not ok then
    error(trouble, 2)
  elseif not response then
    return nil, problem
  end
  return response
end

local Request = {}
Request.__index = Request

local EMPTY = {}
for status, reason in pairs(REASONS) do
  local length = status == 204 and "" or "Content-Length: 0\r\n"
  EMPTY[status] = ("HTTP/1.1 %d %s\r\n%s\r\n"):format(status, reason, length)
end

local function answer_text(status, headers, body)
  if not headers and (not body or body == "") and EMPTY[status] then
    return EMPTY[status]
  end
  body = body or ""
  if type(body) == "table" then
    body = cjson.encode(body)
  end
  local length = status == 204 and "" or ("Content-Length: %d\r\n"):format(#body)
  return ("HTTP/1.1 %d %s\r\n%s%s\r\n%s"):format(
    status, REASONS[status] or "Status", length, header_lines(headers), body)
end

function Request:respond(status, headers, body)
  if self.answered then
    error("this request is answered already", 2)
  end
  self.answered = true
  local connection = self.connection
  if not connection.closed then
    connection.stream:write(answer_text(status, headers, body))
  end
  connection.reader:wake()
end

-- Ends the connection without an answer: with RST over TCP.
function Request:reset()
  self.answered = true
  self.connection:close(true)
  self.connection.reader:wake()
end

-- Ends the connection in the midst of the answer.
function Request:respond_half(status)
  self.answered = true
  local connection = self.connection
  if not connection.closed then
    connection.stream:write(("HTTP/1.1 %d %s\r\nContent-Length: 100\r\n\r\nhalf"):format(
      status, REASONS[status] or "Status"))
    connection:close()
  end
  connection.reader:wake()
end

function Request:json()
  return cjson.decode(self.body)
end

local Connection = {}
Connection.__index = Connection

function Connection:close(reset)
  if self.closed then
    return
  end
  self.closed = true
  self.server.connections[self] = nil
  if reset and self.server.port then
    self.stream:close_reset()
  else
    self.stream:close()
  end
end

local function handle(self, request)
  local status, headers, body = self.server.handler(request)
  if status then
    request:respond(status, headers, body)
  end
  while not request.answered do
    self.reader:sleep()
  end
end

local function serve_connection(self, reader)
  while not self.closed and reader:has_more() do
    local start, headers = reader:head()
    local method, path = start:match "^(%u+) (%S+) HTTP/1%.[01]$"
    if not method then
      self.stream:write(answer_text(400, { Connection = "close" }))
      break
    elseif self.server.on_head and self.server.on_head(headers) then
      self:close(true)
      break
    end
    if headers.expect and headers.expect:lower() == "100-continue" then
      self.stream:write "HTTP/1.1 100 Continue\r\n\r\n"
    end
    handle(self, setmetatable({
      method = method,
      path = path,
      headers = headers,
      body = reader:body(headers),
      connection = self,
      answered = false,
    }, Request))
    if headers.connection and headers.connection:lower() == "close" then
      break
    end
  end
  self:close()
end

local function accept(server)
  local stream = server.port and uv.new_tcp() or uv.new_pipe(false)
  server.listener:accept(stream)
  if server.port then
    stream:nodelay(true)
  end
  local self = setmetatable({ stream = stream, server = server, closed = false }, Connection)
  server.connections[self] = true
  server.accepted = server.accepted + 1
  self.reader = http_reader.new(function(reader)
    serve_connection(self, reader)
  end)
  self.reader:start()
  stream:read_start(loop.callback(function(_, chunk)
    self.reader:feed(chunk)
    if not chunk then
      self:close()
    end
  end))
end

local Server = {}
Server.__index = Server

function Server:listen()
  if self.listener then
    return
  end
  local on_connection = loop.callback(function(problem)
    assert(not problem, problem)
    accept(self)
  end)
  if self.unix then
    self.listener = uv.new_pipe(false)
    assert(self.listener:bind(self.unix))
    self.url = ("http+unix://%s:"):format(self.unix)
  else
    self.listener = self.kept or uv.new_tcp()
    assert(self.kept or self.listener:bind("127.0.0.1", self.port))
    self.kept = nil
  end
  assert(self.listener:listen(1024, on_connection))
  if not self.unix then
    self.port = self.listener:getsockname().port
    self.url = ("http://127.0.0.1:%d"):format(self.port)
  end
end

-- Breaks all connections; the server goes on.
function Server:reset_connections()
  for connection in pairs(self.connections) do
    connection:close(true)
  end
end

-- Nobody listens, and all connections are broken; listen() opens the same address again. Meanwhile the port
-- is kept: nobody else gets it.
function Server:pause()
  if not self.listener then
    return
  end
  self:close()
  if self.port then
    self.kept = uv.new_tcp()
    assert(self.kept:bind("127.0.0.1", self.port))
  end
end

-- The listener and all connections.
function Server:close()
  if self.kept then
    self.kept:close()
    self.kept = nil
  end
  if self.listener then
    self.listener:close()
    self.listener = nil
    self:reset_connections()
    if self.unix then
      os.remove(self.unix)
    end
  end
end

-- options: port (default: a free one on 127.0.0.1), unix (path of a socket instead). The server has port,
-- url, accepted (the number of connections so far), connections.
function http.serve(handler, options)
  options = options or {}
  local self = setmetatable({
    handler = handler,
    unix = options.unix,
    port = not options.unix and (options.port or 0) or nil,
    connections = {},
    accepted = 0,
  }, Server)
  self:listen()
  return self
end

return http
