-- Redis' protocol (RESP 2), both ways.
--
--   pipe:write(resp.command("SET", "key", 1))
--   local reader = resp.reader()
--   for reply in reader:feed(bytes) do ... end
--
-- A reply is a string, a number, a table of replies, resp.null, or { error = "WRONGTYPE ..." }.

local resp = {}

resp.null = setmetatable({}, { __tostring = function() return "null" end })

function resp.command(...)
  local parts = { ("*%d\r\n"):format(select("#", ...)) }
  for _, argument in ipairs { ... } do
    argument = tostring(argument)
    parts[#parts + 1] = ("$%d\r\n%s\r\n"):format(#argument, argument)
  end
  return table.concat(parts)
end

-- The reply that begins at `at`, and where it ends; nil: it is not all there.
local function parse(text, at)
  local kind, line, next_at = text:match("^([-+:$*])([^\r\n]*)\r\n()", at)
  if not kind then
    assert(#text < at or text:find("^[-+:$*]", at), "not a reply: " .. text:sub(at, at + 100))
    return nil
  elseif kind == "+" then
    return line, next_at
  elseif kind == "-" then
    return { error = line }, next_at
  end
  local number = assert(tonumber(line), "not a number in a reply: " .. line)
  if kind == ":" then
    return number, next_at
  elseif number < 0 then
    return resp.null, next_at
  elseif kind == "$" then
    if #text < next_at + number + 1 then
      return nil
    end
    return text:sub(next_at, next_at + number - 1), next_at + number + 2
  end
  local list = {}
  for i = 1, number do
    list[i], next_at = parse(text, next_at)
    if list[i] == nil then
      return nil
    end
  end
  return list, next_at
end

local Reader = {}
Reader.__index = Reader

function resp.reader()
  return setmetatable({ text = "" }, Reader)
end

-- An iterator over the replies that are whole by now.
function Reader:feed(bytes)
  self.text = self.text .. bytes
  return function()
    local reply, next_at = parse(self.text, 1)
    if reply ~= nil then
      self.text = self.text:sub(next_at)
    end
    return reply
  end
end

return resp
