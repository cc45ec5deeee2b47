/* SPDX-License-Identifier: MIT */
#include "broker.h"

int broker_new(const busbar_mosquitto_options *options, busbar_transport *out_transport, busbar_reason *out_reason)
{
    (void)options;
    (void)out_transport;
    *out_reason = (busbar_reason){.text = "this busbar was built without MQTT; build it with libmosquitto"};
    return BUSBAR_ENOTSUP;
}
