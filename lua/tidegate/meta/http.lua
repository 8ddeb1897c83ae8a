---@meta

-- gateway.http and gateway.rest: both wait.

---@class tidegate.Http
local http = {}

---@class tidegate.HttpOptions
---@field method? string
---@field url? string Of gateway.http.request. http://, https://, http+unix:///path/to.sock:/url
---@field headers? table<string, string>
---@field body? string
---@field json? any Encoded as the body, with its Content-Type.
---@field timeout? integer From when the request starts; 10000 if left out.
---@field connect_timeout? integer
---@field queue_timeout? integer How long it may wait for its turn: 16 at a time to a host, 1000 wait. 30000.
---@field max_body? integer Bytes; more is "too_large". 8 MiB if left out. 0: the body is left out.
---@field query? table<string, any>

---@class tidegate.HttpResponse
---@field status integer
---@field body string
---@field data any The body, decoded when it is first asked for.
---@field headers table<string, string> Names in lower case.
---@field retry_after? integer ms
---@field seconds number

---All in one table, `url` among it; `method` is "GET" if left out. Redirects are not followed.
---@param options tidegate.HttpOptions
---@return tidegate.HttpResponse|nil
---@return tidegate.Error? err
function http.request(options) end

---@param url string
---@param options? tidegate.HttpOptions
---@return tidegate.HttpResponse|nil
---@return tidegate.Error? err
function http.get(url, options) end

---@param url string
---@param options? tidegate.HttpOptions
---@return tidegate.HttpResponse|nil
---@return tidegate.Error? err
function http.post(url, options) end

---@param url string
---@param options? tidegate.HttpOptions
---@return tidegate.HttpResponse|nil
---@return tidegate.Error? err
function http.put(url, options) end

---@param url string
---@param options? tidegate.HttpOptions
---@return tidegate.HttpResponse|nil
---@return tidegate.Error? err
function http.patch(url, options) end

---@param url string
---@param options? tidegate.HttpOptions
---@return tidegate.HttpResponse|nil
---@return tidegate.Error? err
function http.delete(url, options) end

---Discord's API, with the bot's authorization. A status other than 2xx is nil, err.
---
---Of a list as the path each part is escaped, so that it is one part whatever it holds. A path in which one
---is "." or ".." (in a list, also "") is not asked for: err.code is "bad_url".
---@class tidegate.Rest
local rest = {}

---@param method string
---@param path string|(string|number)[] from "/" on, as in "/users/@me"; or its parts: { "users", "@me" }
---@param options? tidegate.HttpOptions
---@return any data the answer, decoded; true if it was empty
---@return tidegate.HttpResponse|tidegate.Error
function rest.request(method, path, options) end

---@param path string|(string|number)[]
---@param options? tidegate.HttpOptions
---@return any data
---@return tidegate.HttpResponse|tidegate.Error
function rest.get(path, options) end

---@param path string|(string|number)[]
---@param options? tidegate.HttpOptions
---@return any data
---@return tidegate.HttpResponse|tidegate.Error
function rest.post(path, options) end

---@param path string|(string|number)[]
---@param options? tidegate.HttpOptions
---@return any data
---@return tidegate.HttpResponse|tidegate.Error
function rest.put(path, options) end

---@param path string|(string|number)[]
---@param options? tidegate.HttpOptions
---@return any data
---@return tidegate.HttpResponse|tidegate.Error
function rest.patch(path, options) end

---@param path string|(string|number)[]
---@param options? tidegate.HttpOptions
---@return any data
---@return tidegate.HttpResponse|tidegate.Error
function rest.delete(path, options) end
