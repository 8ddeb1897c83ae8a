-- Reads HTTP/1.1 messages from a luv stream, in straight lines: the reading side of a connection is a
-- coroutine that waits whenever bytes are missing.

local Reader = {}
Reader.__index = Reader

local http_reader = {}

-- run(reader) is the connection's coroutine; it ends with an error "closed" thrown in read calls when the
-- other side closes in the middle of a message.
function http_reader.new(run)
  local self = setmetatable({ buffer = "", eof = false }, Reader)
  self.thread = coroutine.create(function()
    run(self)
  end)
  return self
end

local function resume(self)
  local ok, problem = coroutine.resume(self.thread)
  if not ok and problem ~= http_reader.CLOSED then
    error(debug.traceback(self.thread, problem), 0)
  end
end

http_reader.CLOSED = setmetatable({}, { __tostring = function() return "the other side has closed" end })

function Reader:start()
  resume(self)
end

-- What came from the stream; nil at its end.
function Reader:feed(chunk)
  if chunk then
    if self.parts then
      self.parts[#self.parts + 1] = chunk
      self.size = self.size + #chunk
    else
      self.buffer = self.buffer == "" and chunk or self.buffer .. chunk
    end
  else
    self.eof = true
  end
  if self.waiting and (not self.parts or self.size >= self.wanted or self.eof) then
    self.waiting = false
    resume(self)
  end
end

local function more(self)
  if self.eof then
    error(http_reader.CLOSED, 0)
  end
  self.waiting = true
  coroutine.yield()
end

-- Waits for a wake() of somebody else; bytes that come meanwhile are kept.
function Reader:sleep()
  self.asleep = true
  coroutine.yield()
end

function Reader:wake()
  if self.asleep then
    self.asleep = false
    resume(self)
  end
end

-- Whether there is at least one byte more. Waits for it.
function Reader:has_more()
  while self.buffer == "" do
    if self.eof then
      return false
    end
    more(self)
  end
  return true
end

-- Everything up to `mark`, which is thrown away.
function Reader:up_to(mark)
  local from = 1
  while true do
    local first, last = self.buffer:find(mark, from, true)
    if first then
      local text = self.buffer:sub(1, first - 1)
      self.buffer = self.buffer:sub(last + 1)
      return text
    end
    from = math.max(1, #self.buffer - #mark + 2)
    more(self)
  end
end

-- Large bodies are collected in pieces, so that reading them takes linear time.
function Reader:exactly(size)
  if #self.buffer < size then
    self.parts, self.size, self.wanted = { self.buffer }, #self.buffer, size
    while self.size < size do
      if self.eof then
        self.parts = nil
        error(http_reader.CLOSED, 0)
      end
      more(self)
    end
    self.buffer = table.concat(self.parts)
    self.parts = nil
  end
  if #self.buffer == size then
    local text = self.buffer
    self.buffer = ""
    return text
  end
  local text = self.buffer:sub(1, size)
  self.buffer = self.buffer:sub(size + 1)
  return text
end

function Reader:rest()
  local parts = {}
  while self:has_more() do
    parts[#parts + 1] = self.buffer
    self.buffer = ""
  end
  return table.concat(parts)
end

-- The start line and the header lines, names in lower case.
function Reader:head()
  local text = self:up_to "\r\n\r\n"
  local start, rest = text:match "^(.-)\r\n(.*)$"
  local headers = {}
  for name, value in ((rest or "") .. "\r\n"):gmatch "([^:\r\n]+):[ \t]*(.-)[ \t]*\r\n" do
    headers[name:lower()] = value
  end
  return start or text, headers
end

-- until_closed: without a length the body goes on to the end of the stream (answers, not requests).
function Reader:body(headers, until_closed)
  local length = tonumber(headers["content-length"])
  if length then
    return length > 0 and self:exactly(length) or ""
  elseif (headers["transfer-encoding"] or ""):lower() == "chunked" then
    local parts = {}
    while true do
      local size = assert(tonumber(self:up_to("\r\n"):match "^%x+", 16), "bad chunk size")
      if size == 0 then
        while self:up_to "\r\n" ~= "" do end
        return table.concat(parts)
      end
      parts[#parts + 1] = self:exactly(size)
      self:up_to "\r\n"
    end
  end
  return until_closed and self:rest() or ""
end

return http_reader
