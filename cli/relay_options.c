/* SPDX-License-Identifier: MIT */
#include "relay_options.h"

const option relay_options[RELAY_OPTION_COUNT] = {
    [RELAY_URL] = {"url", 0, OPTION_VALUE},
    [RELAY_TOPIC] = {"topic", 0, OPTION_VALUE},
    [RELAY_NAME] = {"name", 0, OPTION_VALUE},
    [RELAY_TYPE] = {"type", 0, OPTION_VALUE},
    [RELAY_MATCH] = {"match", 0, OPTION_MANY},
    [RELAY_MATCH_NOT] = {"match-not", 0, OPTION_MANY},
    [RELAY_QOS] = {"qos", 0, OPTION_VALUE},
    [RELAY_FORMAT] = {"format", 0, OPTION_VALUE},
    [RELAY_WINDOW] = {"window", 0, OPTION_VALUE},
    [RELAY_RATE] = {"rate", 0, OPTION_VALUE},
    [RELAY_UNMATCHED] = {"unmatched", 0, OPTION_VALUE},
    [RELAY_DRAIN] = {"drain", 0, OPTION_FLAG},
    [RELAY_CONFIG] = {"config", 0, OPTION_VALUE},
    [RELAY_USER] = {"user", 0, OPTION_VALUE},
    [RELAY_PASSWORD_FILE] = {"password-file", 0, OPTION_VALUE},
    [RELAY_CA] = {"ca", 0, OPTION_VALUE},
    [RELAY_CERT] = {"cert", 0, OPTION_VALUE},
    [RELAY_KEY_FILE] = {"key-file", 0, OPTION_VALUE},
    [RELAY_CLIENT_ID] = {"client-id", 0, OPTION_VALUE},
    [RELAY_MQTT] = {"mqtt", 0, OPTION_VALUE},
};
