-- gateway.json beside lua-cjson: CPU time of decoding and encoding two payloads, at the top level of a script
-- that `tidegate check` loads.

local lab = require "spec.bench.lab"
local paths = require "spec.support.paths"
local process = require "spec.support.process"

local json = {}

local BYTES = 1e6 -- worked through for a figure
local ROUNDS = 7 -- for each of the other measures'

local MESSAGE = table.concat {
  [[{"type":0,"tts":false,"timestamp":"2026-11-30T12:00:00.000000+00:00","pinned":false,]],
  [["nonce":"1310001000000000001","mentions":[{"username":"mara","public_flags":0,]],
  [["member":{"roles":[],"premium_since":null,"pending":false,"nick":null,"mute":false,]],
  [["joined_at":"2024-02-01T10:20:30.456000+00:00","flags":0,"deaf":false,"avatar":null},]],
  [["id":"1100000000000000002","global_name":"Mara","discriminator":"0",]],
  [["avatar":"b5b5b5b5b5b5b5b5b5b5b5b5b5b5b5b5"}],"mention_roles":[],"mention_everyone":false,]],
  [["member":{"roles":["1200000000000000001","1200000000000000002"],"premium_since":null,]],
  [["pending":false,"nick":"Tide \ud83c\udf0a","mute":false,]],
  [["joined_at":"2023-01-01T00:00:00.000000+00:00","flags":0,"deaf":false,"avatar":null},]],
  [["id":"1310001000000000002","flags":0,"embeds":[],"edited_timestamp":null,]],
  [["content":"The ferry \"Anna\" leaves at 9:40,\nand is back before the tide \u2014 who comes along?",]],
  [["components":[],"channel_type":0,"channel_id":"1250000000000000001",]],
  [["author":{"username":"tide","public_flags":64,"id":"1100000000000000001","global_name":"Tide",]],
  [["discriminator":"0","avatar":"a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1"},"attachments":[],]],
  [["guild_id":"41771983423143937"}]],
}

local ROLE = [[{"id":"12%017d","name":"role %d","color":%d,"hoist":false,"position":%d,]]
  .. [["permissions":"1071698660929","managed":false,"mentionable":true,"flags":0,"icon":null}]]
local CHANNEL = [[{"id":"13%017d","type":0,"name":"channel-%d","position":%d,"topic":null,"nsfw":false,]]
  .. [["parent_id":"1300000000000000001","last_message_id":"1310001000000000001","flags":0,]]
  .. [["permission_overwrites":[{"id":"12%017d","type":0,"allow":"1024","deny":"0"}]}]]
local MEMBER = [[{"user":{"id":"11%017d","username":"user%d","global_name":"User %d","discriminator":"0",]]
  .. [["avatar":"a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1","public_flags":0},"nick":null,"roles":["12%017d"],]]
  .. [["joined_at":"2023-01-01T00:00:00.000000+00:00","premium_since":null,"deaf":false,"mute":false}]]

local function list(count, row)
  local rows = {}
  for i = 1, count do
    rows[i] = row:format(i, i, i, i)
  end
  return "[" .. table.concat(rows, ",") .. "]"
end

local function guild()
  return ([[{"id":"41771983423143937","name":"Harbour","owner_id":"1100000000000000001",]]
    .. [["premium_tier":1,"member_count":200,"large":false,"unavailable":false,]]
    .. [["emojis":[],"stickers":[],"voice_states":[],"presences":[],"threads":[],"roles":%s,]]
    .. [["channels":%s,"members":%s}]])
    :format(list(40, ROLE), list(60, CHANNEL), list(200, MEMBER))
end

-- Both roles load the script; one is enough. It has half a second for that.
local SCRIPT = [[
local gateway = require "tidegate"
gateway.configure { token = "abc.def.ghi", intents = 0 }
if gateway.role == "manager" then return end

local function microseconds(fn, value, count)
  collectgarbage()
  local from = os.clock()
  for _ = 1, count do fn(value) end
  return (os.clock() - from) / count * 1e6
end

for name, text in pairs { MESSAGE_CREATE = %q, GUILD_CREATE = %q } do
  local count = math.ceil(%d / #text)
  for title, codec in pairs { ["gateway.json"] = gateway.json, cjson = require "cjson" } do
    local decode = microseconds(codec.decode, text, count)
    local encode = microseconds(codec.encode, codec.decode(text), count)
    io.write(("%%s %%s decode: %%g\n%%s %%s encode: %%g\n"):format(name, title, decode, name, title, encode))
  end
end
]]

function json.measure(options)
  print "JSON in scripts, CPU microseconds a payload:"
  local payloads = { { "MESSAGE_CREATE", MESSAGE }, { "GUILD_CREATE", guild() } }
  local path = paths.write(paths.tmp() .. "/json.lua", SCRIPT:format(MESSAGE, guild(), BYTES))
  local figures = {}
  for round = 1, options.rounds * ROUNDS do
    local run = process.run { paths.bin "tidegate", "check", path }
    assert(run.exit_code == 0, run.stderr)
    for what, value in run.stdout:gmatch "(%u%S+ %S+ %l+code): (%S+)\n" do
      figures[what] = figures[what] or {}
      figures[what][round] = tonumber(value)
    end
  end
  print(("  %-32s %14s %8s %8s"):format("", "gateway.json", "cjson", "ratio"))
  for _, payload in ipairs(payloads) do
    local name, text = payload[1], payload[2]
    for _, what in ipairs { "decode", "encode" } do
      local ours = lab.median(figures[name .. " gateway.json " .. what])
      local its = lab.median(figures[name .. " cjson " .. what])
      local title = ("%s, %.1f KB, %s"):format(name, #text / 1000, what)
      print(("  %-32s %14.2f %8.2f %8.2f"):format(title, ours, its, ours / its))
    end
  end
end

return json
