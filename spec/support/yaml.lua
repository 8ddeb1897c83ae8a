-- Reads the YAML that examples are written in: block mappings and lists, texts, numbers, true and false, and
-- JSON in one line where a list or a table is short. What it does not know it refuses: examples are to be
-- plain.
--
--   local documents = yaml.read(text)      documents[1].metadata.name

local cjson = require "cjson"

local yaml = {}

local PLAIN = "^[%w/_.][^#:]*$" -- a colon may stand in the midst of a word: see scalar()

local function refuse(line, what)
  error(("line %d: %s: %s"):format(line.number, what, line.text), 0)
end

-- The lines that say something: { number, indent, text }.
local function split(text)
  local lines, number = {}, 0
  for whole in (text .. "\n"):gmatch "(.-)\n" do
    number = number + 1
    local indent, rest = whole:match "^( *)(.-)%s*$"
    if rest:find "\t" then
      refuse({ number = number, text = whole }, "a tab")
    elseif rest ~= "" and rest:sub(1, 1) ~= "#" then
      lines[#lines + 1] = { number = number, indent = #indent, text = rest }
    end
  end
  return lines
end

local WORDS = { ["true"] = true, ["false"] = false, null = cjson.null, ["~"] = cjson.null }

local function scalar(line, text)
  if text:find '^[%[{"]' then
    local ok, value = pcall(cjson.decode, text)
    return ok and value or refuse(line, "not in the form of JSON")
  elseif WORDS[text] ~= nil then
    return WORDS[text]
  elseif text:find "^%-?%d+$" or text:find "^%-?%d+%.%d+$" then
    return tonumber(text)
  elseif text:gsub(":(%S)", "%1"):find(PLAIN) then
    return text
  end
  refuse(line, "more than plain text: put it into quotes")
end

local block

-- What a key or a dash leads to: the rest of its line, or the lines below that stand further in.
local function value_of(lines, at, line, rest, indent)
  if rest ~= "" then
    return scalar(line, rest), at
  end
  local below = lines[at]
  local is_list = below and below.text:find "^%- "
  if below and (below.indent > indent or is_list and below.indent == indent and not line.text:find "^%-") then
    return block(lines, at, below.indent)
  end
  return cjson.null, at
end

local function list(lines, at, indent)
  local values = {}
  while lines[at] and lines[at].indent == indent and lines[at].text:find "^%-%s" do
    local line = lines[at]
    local blanks, rest = line.text:match "^%-(%s+)(.*)$"
    if rest:find "^[%w_./-]+:%s" or rest:find "^[%w_./-]+:$" then -- a mapping begins in the line of the dash
      line.indent, line.text = indent + 1 + #blanks, rest
      values[#values + 1], at = block(lines, at, line.indent)
    else
      values[#values + 1], at = value_of(lines, at + 1, line, rest, indent)
    end
  end
  return values, at
end

local function mapping(lines, at, indent)
  local values = {}
  while lines[at] and lines[at].indent == indent and not lines[at].text:find "^%-%s" do
    local line = lines[at]
    local key, rest = line.text:match "^([%w_./-]+):%s*(.*)$"
    if not key then
      refuse(line, "no key")
    elseif values[key] ~= nil then
      refuse(line, "a key that was there")
    end
    values[key], at = value_of(lines, at + 1, line, rest, indent)
  end
  return values, at
end

function block(lines, at, indent)
  local values
  values, at = (lines[at].text:find "^%-%s" and list or mapping)(lines, at, indent)
  if lines[at] and lines[at].indent > indent then
    refuse(lines[at], "stands further in than what is above it")
  end
  return values, at
end

-- All documents; a mistake is raised, with its line.
function yaml.read(text)
  local documents, lines = {}, {}
  local function finish()
    if #lines > 0 then
      local value, at = block(lines, 1, lines[1].indent)
      if lines[at] then
        refuse(lines[at], "belongs to nothing")
      end
      documents[#documents + 1] = value
    end
    lines = {}
  end
  for _, line in ipairs(split(text)) do
    if line.text == "---" then
      finish()
    else
      lines[#lines + 1] = line
    end
  end
  finish()
  return documents
end

return yaml
