-- Something in the network between a client and where it wants to go: it takes connections and then does as
-- the spec says.
--
--   local box = middlebox.start("127.0.0.1", port)                          takes them, and stays mute
--   local box = middlebox.start("127.0.0.1", port, { says = "SSH-2.0-x" })  its answer to whatever comes
--   local box = middlebox.start("127.0.0.1", port, { closes = true })
--   local box = middlebox.start("127.0.0.1", port, { to = "127.0.0.2:443", mute_after = "\r\n\r\n" })
--                               passes all on, until these bytes have come back; then it is mute
--   box.accepted                how many connections so far
--
-- middlebox.cleanup() for after_each.

local loop = require "spec.support.loop"
local uv = require "luv"

local middlebox = {}

local opened = {}

local function pass_on(box, client, options)
  local host, port = options.to:match "^(.*):(%d+)$"
  local server = uv.new_tcp()
  box.handles[server] = true
  local back = ""
  local function is_mute()
    local _, last = back:find(options.mute_after, 1, true)
    return last
  end
  server:connect(host, tonumber(port), loop.callback(function(problem)
    assert(not problem, problem)
    client:read_start(function(_, chunk)
      if chunk and not is_mute() then
        server:write(chunk)
      end
    end)
    server:read_start(function(_, chunk)
      if chunk and not is_mute() then
        local passed = #back
        back = back .. chunk
        client:write(back:sub(passed + 1, is_mute()))
      end
    end)
  end))
end

local function serve(box, client, options)
  if options.to then
    pass_on(box, client, options)
    return
  end
  client:read_start(function(_, chunk)
    if not chunk then
      return
    elseif options.says then
      client:write(options.says)
    elseif options.closes and box.handles[client] then
      box.handles[client] = nil
      client:close()
    end
  end)
end

function middlebox.start(host, port, options)
  local box = { accepted = 0, handles = {} }
  local listener = uv.new_tcp()
  box.handles[listener] = true
  opened[#opened + 1] = box
  assert(listener:bind(host, port))
  assert(listener:listen(128, loop.callback(function(problem)
    assert(not problem, problem)
    local client = uv.new_tcp()
    box.handles[client] = true
    listener:accept(client)
    box.accepted = box.accepted + 1
    serve(box, client, options or {})
  end)))
  box.port = listener:getsockname().port
  return box
end

function middlebox.cleanup()
  for _, box in ipairs(opened) do
    for handle in pairs(box.handles) do
      handle:close()
    end
  end
  opened = {}
end

return middlebox
