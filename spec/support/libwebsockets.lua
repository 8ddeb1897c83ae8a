-- Which libwebsockets the gateway is built with: some of what it does differs.

local libwebsockets = {}

local pipe = assert(io.popen "pkg-config --modversion libwebsockets")
local major, minor = pipe:read("*a"):match "^(%d+)%.(%d+)"
pipe:close()

local version = tonumber(major) * 100 + tonumber(minor)

-- Before 4.2 close codes from 1012 to 2999 are told as 1002.
libwebsockets.tells_all_codes = version >= 402

-- Before 4.3 frames of the gateway's may have a mask.
libwebsockets.takes_masks = version < 403

return libwebsockets
