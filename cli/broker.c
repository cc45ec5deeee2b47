/* SPDX-License-Identifier: MIT */
#include "broker.h"

int broker_new(const busbar_mosquitto_options *options, busbar_transport *out_transport, busbar_reason *out_reason)
{
    return busbar_mosquitto_new(options, out_transport, out_reason);
}
