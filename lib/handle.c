/* SPDX-License-Identifier: MIT */
#include "handle.h"

#include "schema.h"

uint64_t bb_handle_now_us(const busbar *bus)
{
    return bus->port->mono_us(bus->port->ctx);
}

int64_t bb_handle_now_ms(const busbar *bus)
{
    return (int64_t)(bb_handle_now_us(bus) / 1000);
}

void bb_handle_observe(const busbar *bus, const busbar_observation *observation)
{
    if (bus->options.observer)
        bus->options.observer(observation, bus->options.observer_ctx);
}

int bb_handle_outside_handler(busbar *bus)
{
    if (!bus->in_handler)
        return BUSBAR_OK;
    return bb_store_fail(&bus->store, BUSBAR_EMISUSE, "not allowed inside a handler: return from it first");
}

int bb_handle_idle(busbar *bus)
{
    int result = bb_handle_outside_handler(bus);
    if (result < 0)
        return result;
    result = bb_store_mend(&bus->store);
    if (result < 0 && result != BUSBAR_EROLLEDBACK) /* the caller has none open here */
        return result;
    if (!bb_store_in_transaction(&bus->store) && bb_store_writing(&bus->store))
        return bb_store_fail(&bus->store, BUSBAR_ETXN,
                             "a statement of the application is still writing: step it to its end or reset it first");
    if (bb_store_in_transaction(&bus->store))
        return bb_store_fail(&bus->store, BUSBAR_ETXN,
                             "not allowed inside an open transaction: commit or roll back first");
    return BUSBAR_OK;
}

int bb_handle_ensure_schema(busbar *bus)
{
    if (bus->schema_confirmed)
        return BUSBAR_OK;
    return bb_schema_migrate(&bus->store, bb_schema_steps, bb_schema_step_count);
}

void busbar_error_get(const busbar *bus, busbar_error *out_error)
{
    if (bus && out_error)
        *out_error = bus->store.error;
}
