-- An example of what stands behind the gateway: an event handler that prints what it gets.
--
--   luajit examples/bots/bot.lua [--port 8081] [--all] [--wait-for-shards] [--announce FILE]
--
-- It needs luajit, lua-luv and lua-cjson (Debian's names). Any language will do for a real one; these are its
-- duties:
--   * answer each POST with a 2xx as soon as the event is safe; the next event of that shard comes after it
--   * compare the Authorization header with EVENT_HANDLER_SECRET_KEY
--   * an event may come twice after a crash: (epoch, s) of a shard only grows, so drop what is not newer
-- --all prints every event instead of at most ten a second. --wait-for-shards keeps quiet until all shards
-- are up. --announce writes the handler's URL to a file once it listens.

local cjson = require "cjson"
local uv = require "luv"

local SHOWN_A_SECOND = 10

local options = { port = 8081 }
do
  local i = 1
  while arg[i] do
    local name = arg[i]
    if name == "--all" then
      options.all = true
    elseif name == "--wait-for-shards" then
      options.wait_for_shards = true
    elseif (name == "--port" or name == "--announce") and arg[i + 1] then
      i = i + 1
      options[name:sub(3)] = arg[i]
    else
      io.stderr:write "usage: bot.lua [--port N] [--all] [--wait-for-shards] [--announce FILE]\n"
      os.exit(64)
    end
    i = i + 1
  end
end

local secret = os.getenv "EVENT_HANDLER_SECRET_KEY"
if secret == "" then
  secret = nil
end

io.stdout:setvbuf "line"

local last = {}     -- by shard: {epoch, s} of the newest event
local shards_up, shards_total = 0, nil
local second = { events = 0, bytes = 0, shown = 0 }
local total, repeats = 0, 0

local function is_repeat(event)
  local before = last[event.shardId]
  local s = event.message.s
  if before and (event.epoch < before.epoch or event.epoch == before.epoch and s <= before.s) then
    return true
  end
  last[event.shardId] = { epoch = event.epoch, s = s, since = before and before.since or uv.now(),
    up = before and before.up }
  return false
end

-- A shard is up from its READY or RESUMED on; READY also tells how many there are.
local function note_shard(event)
  local message = event.message
  if message.t ~= "READY" and message.t ~= "RESUMED" then
    return
  end
  local shard = last[event.shardId]
  if not shard.up then
    shard.up = true
    shards_up = shards_up + 1
  end
  if message.t == "READY" and type(message.d.shard) == "table" then
    shards_total = message.d.shard[2]
  end
end

local quiet = options.wait_for_shards

local function show(event)
  if quiet or not options.all and second.shown >= SHOWN_A_SECOND then
    return
  end
  second.shown = second.shown + 1
  local message = event.message
  local data = type(message.d) == "table" and message.d or {}
  local guild = message.t:find "^GUILD_[CUD]" and data.id or data.guild_id
  guild = type(guild) == "string" and "guild " .. guild or ""
  print(("%s  shard %-3d %-24s %s  %s"):format(
    os.date "%H:%M:%S", event.shardId, message.t, guild, event.guildCreate or ""))
end

local function accept(body)
  local decoded = cjson.decode(body)
  -- With event_handler.batch on, several events come as an array.
  for _, event in ipairs(decoded[1] and decoded or { decoded }) do
    if event.message then -- other entries are markers
      if is_repeat(event) then
        repeats = repeats + 1
      else
        note_shard(event)
        show(event)
        total = total + 1
        second.events = second.events + 1
      end
    end
  end
  second.bytes = second.bytes + #body
end

local function answer(headers, body)
  if secret and headers:match "\r\n[Aa]uthorization:[ \t]*([^\r\n]-)[ \t]*\r\n" ~= secret then
    return "401 Unauthorized\r\nContent-Length: 0"
  end
  local ok, problem = pcall(accept, body)
  if not ok then
    io.stderr:write("cannot read an event: ", tostring(problem), "\n")
    return "400 Bad Request\r\nContent-Length: 0"
  end
  return "204 No Content"
end

-- HTTP/1.1 with keep-alive, for bodies with a Content-Length: all that the gateway sends. The connection
-- keeps the pieces of an incomplete request.
local function new_connection(stream)
  local pieces, size, wanted = {}, 0, nil

  local function take_request()
    if wanted and size < wanted then
      return false
    end
    local text = table.concat(pieces)
    local _, head_end = text:find("\r\n\r\n", 1, true)
    if not head_end then
      pieces = { text }
      return false
    end
    local headers = text:sub(1, head_end)
    local length = tonumber(headers:match "\r\n[Cc]ontent%-[Ll]ength:[ \t]*(%d+)") or 0
    wanted = head_end + length
    if size < wanted then
      pieces = { text }
      if headers:lower():find("\r\nexpect: 100-continue", 1, true) then
        stream:write "HTTP/1.1 100 Continue\r\n\r\n"
      end
      return false
    end
    stream:write("HTTP/1.1 " .. answer(headers, text:sub(head_end + 1, wanted)) .. "\r\n\r\n")
    pieces, size = { text:sub(wanted + 1) }, size - wanted
    wanted = nil
    return size > 0
  end

  return function(problem, chunk)
    if problem or not chunk then
      stream:close()
      return
    end
    pieces[#pieces + 1] = chunk
    size = size + #chunk
    while take_request() do end
  end
end

local server = uv.new_tcp()
assert(server:bind("127.0.0.1", tonumber(options.port)))
local listening, problem = server:listen(128, function()
  local stream = uv.new_tcp()
  server:accept(stream)
  stream:nodelay(true)
  stream:read_start(new_connection(stream))
end)
if not listening then
  io.stderr:write(("cannot listen on port %s: %s\n"):format(options.port, problem))
  os.exit(1)
end

local url = ("http://127.0.0.1:%d"):format(server:getsockname().port)
if options.announce then
  local file = assert(io.open(options.announce .. ".new", "w"))
  file:write(url, "\n")
  file:close()
  assert(os.rename(options.announce .. ".new", options.announce))
else
  print("Waiting for events on " .. url)
end

-- Whether shards are still coming up. Resumed shards do not tell how many they are: then a pause has to do.
local function still_starting()
  if shards_total then
    return shards_up < shards_total
  end
  local newest
  for _, shard in pairs(last) do
    newest = math.max(newest or 0, shard.since)
  end
  return not newest or uv.now() - newest < 3000
end

uv.new_timer():start(1000, 1000, function()
  quiet = quiet and still_starting()
  if not quiet then
    local hidden = second.events - second.shown
    hidden = hidden > 0 and second.shown > 0 and (" (%d not shown)"):format(hidden) or ""
    print(("%s  -- %d shards, %d events/s%s, %.1f KB/s, %d events in total, %d repeats dropped"):format(
      os.date "%H:%M:%S", shards_up, second.events, hidden, second.bytes / 1024, total, repeats))
  end
  second = { events = 0, bytes = 0, shown = 0 }
end)

for _, signal in ipairs { "sigint", "sigterm" } do
  uv.new_signal():start(signal, function()
    print(("%d events from %d shards, %d repeats dropped"):format(total, shards_up, repeats))
    os.exit(0)
  end)
end

uv.run()
