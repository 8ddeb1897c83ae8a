-- A client that writes bytes and looks at bytes: for servers that have to bear more than HTTP.
--
--   local client = raw_client.connect(url)      as http.parse_url() takes it
--   client:write("GET / HTTP/1.1\r\n")
--   client:wait_for("HTTP/1.1 200")             until that has come, as plain text; returns all so far
--   client:wait_closed()                        until the server has closed; returns all
--   client:close()                              client:reset(): with RST
--   client:read()                               begins to read, after connect(url, { reads = false })
--
-- raw_client.cleanup() for after_each.

local http = require "spec.support.http"
local loop = require "spec.support.loop"
local uv = require "luv"

local raw_client = {}

local Client = {}
Client.__index = Client

local open = {}

function Client:read()
  self.stream:read_start(loop.callback(function(broken, chunk)
    if chunk then
      self.received = self.received .. chunk
    else
      self.closed = true
      self.problem = broken
    end
  end))
end

function raw_client.connect(url, options)
  local target = http.parse_url(url)
  local self = setmetatable({ received = "", closed = false }, Client)
  self.stream = target.unix and uv.new_pipe(false) or uv.new_tcp()
  open[self] = true
  local on_connected = loop.callback(function(problem)
    self.connected = true
    self.problem = problem
    if problem then
      self.closed = true
      return
    end
    if not options or options.reads ~= false then
      self:read()
    end
  end)
  if target.unix then
    self.stream:connect(target.unix, on_connected)
  else
    self.stream:connect(target.host, target.port, on_connected)
  end
  loop.wait_for("a connection to " .. url, function() return self.connected end, nil, 2)
  return self
end

function Client:write(text)
  self.stream:write(text, function() end) -- that the server has closed shows when it is read
end

function Client:wait_for(text, timeout)
  loop.wait_for(function()
    return ("%q; the server has sent %q%s"):format(text, self.received:sub(1, 2000),
      self.closed and " and closed" or "")
  end, function()
    return self.received:find(text, 1, true) or self.closed
  end, timeout, 2)
  if not self.received:find(text, 1, true) then
    error(("the server has closed; it has sent %q, not %q"):format(self.received:sub(1, 2000), text), 2)
  end
  return self.received
end

function Client:wait_closed(timeout)
  loop.wait_for(function()
    return ("the server to close; it has sent %q"):format(self.received:sub(1, 2000))
  end, function()
    return self.closed
  end, timeout, 2)
  return self.received
end

-- How often a plain text has come.
function Client:count(text)
  return select(2, self.received:gsub(text:gsub("%p", "%%%0"), ""))
end

function Client:close()
  if open[self] then
    open[self] = nil
    self.stream:close()
  end
end

function Client:reset()
  if open[self] then
    open[self] = nil
    self.stream:close_reset()
  end
end

function raw_client.cleanup()
  for client in pairs(open) do
    client:close()
  end
end

return raw_client
