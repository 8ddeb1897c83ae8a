---@meta

-- Plugins: what `gateway.plugin` takes, and what a plugin's handler and its `self` are.

---@class tidegate.PluginOptions
---@field as? string       Another name, for a second one of the same plugin.
---@field version? string  Which versions of the rock will do, as LuaRocks says it: "~> 1.2", ">= 1, < 3".

---What the module tidegate.plugins.<name>.handler returns. Its other functions and values are in `self`, too.
---@class tidegate.PluginHandler
---@field VERSION string
---@field PRIORITY number  Filters, handlers and overrides of plugins with a higher one come first.
---@field API 1            The version of this interface that it is made for.
---@field load fun(self: tidegate.Plugin, config: table)  Registers everything; it cannot wait.
---@field unload? fun(self: tidegate.Plugin)   Before a reload, and at the end.
---@field save? fun(self: tidegate.Plugin): any  Plain values for the next one, after `unload`.
---@field restore? fun(self: tidegate.Plugin, saved: any)  After the reload, before `load` handlers of others.

---What the module tidegate.plugins.<name>.schema returns.
---@class tidegate.PluginSchema
---@field fields table<string, tidegate.PluginField>

---@class tidegate.PluginField
---@field type "string"|"integer"|"number"|"boolean"|"array"|"map"|"record"
---@field required? boolean
---@field default? any
---@field one_of? any[]
---@field between? { [1]: number, [2]: number }  Of numbers the value, of strings and arrays the length.
---@field match? string       A Lua pattern for strings.
---@field secret? boolean     Never shown.
---@field reference? boolean  The value may be `{ env = "NAME" }` or `{ file = "/path" }`.
---@field elements? tidegate.PluginField  Of an array.
---@field keys? tidegate.PluginField      Of a map,
---@field values? tidegate.PluginField    and its values.
---@field fields? table<string, tidegate.PluginField>  Of a record.
---@field description? string

---@class tidegate.Plugin
---@field name string     "drop-bots", or what `as` said.
---@field config table    Checked, with the defaults.
---@field state table     Lives through reloads of its process.
---@field log tidegate.Log          Lines begin with the name.
---@field metrics tidegate.Metrics  Series have the label plugin="<name>".
---@field http tidegate.Http
---@field rest tidegate.Rest
---@field role "manager"|"worker"
---@field worker_id? integer
local plugin = {}

---As gateway.filter.
---@param names string|string[]
---@param rule boolean|fun(event: tidegate.Event): false|table|string|nil
---@param options? { priority?: integer }
---@return tidegate.Subscription
function plugin:filter(names, rule, options) end

---As gateway.on.
---@param names string|string[]
---@param fn fun(...)
---@param options? { priority?: integer, ordered?: "shard"|"guild", concurrency?: integer }
---@return tidegate.Subscription
function plugin:on(names, fn, options) end

---@param topic string
---@param fn fun(value: any, from: any)
---@return tidegate.Subscription
function plugin:on_broadcast(topic, fn) end

---@param topic string
---@param value any
function plugin:broadcast(topic, value) end

---Stands in front of a method. `fn(next, ...)`: `...` is what a function assigned to
---`gateway.<table>.<method>` gets, its `self` first, and `next(...)`, the one behind it, takes the same.
---@param name "manager"|"shard"|"delivery"|"cache"
---@param method string
---@param fn fun(next: function, ...): ...
function plugin:override(name, method, fn) end

---@param ms integer
---@param fn fun()
function plugin:after(ms, fn) end

---@param ms integer
---@param fn fun()
function plugin:every(ms, fn) end

---@param fn fun(...)
function plugin:spawn(fn, ...) end

---@param ms integer
function plugin:sleep(ms) end

---What is asked of a route.
---@class tidegate.RouteRequest
---@field method "GET"|"POST"|"PUT"|"PATCH"|"DELETE"  HEAD comes as GET.
---@field path string                   As it came, below the plugin's: "/guilds/5".
---@field query table<string, string>   Without escapes; of equal names the last one.
---@field params table<string, string>  What stands for the `:name` parts of the path.
---@field body any                      What the JSON says; nil: there was none.

---Serves `/plugins/<name>/<path>` of the control API, in the manager. `fn` may wait, 30 s in all. It returns
---a value (200), a value and a status, nothing (204), nil and a status, or nil and an error (500).
---@param method "GET"|"POST"|"PUT"|"PATCH"|"DELETE"
---@param path string  "/", "/stats", "/guilds/:id"
---@param fn fun(request: tidegate.RouteRequest): any, any
function plugin:route(method, path, fn) end
