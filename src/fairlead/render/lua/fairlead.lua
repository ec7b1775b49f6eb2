-- What the configuration calls for every request, as globals: `require` would be looked up again each time.

local state = require("fairlead_state")
local balancer = require("fairlead_balancer")
local metrics = require("fairlead_metrics")

-- Reads the structure at `path`, in the master, before there is any worker. `refuser` is the address of the server that
-- refuses every request.
return function(path, refuser)
    state.load(path)
    balancer.refuser = refuser
    collectgarbage("setpause", 300) -- half the collections for half as much memory again
    fairlead_begin = balancer.begin
    fairlead_explain = balancer.explain
    fairlead_balance = balancer.balance
    fairlead_log = metrics.log
end
