// SPDX-License-Identifier: MIT
// A C++17 program that uses Busbar: every header compiles, and opening, publishing, stepping and listing work.
#include <busbar/busbar.h>
#include <busbar/linux.h>
#include <busbar/loopback.h>
#include <busbar/mosquitto.h>
#include <busbar/port.h>
#include <busbar/sim.h>
#include <busbar/sqlite.h>
#include <busbar/transport.h>

#include <cstdio>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

namespace
{

const busbar_sqlite routines = BUSBAR_SQLITE_ROUTINES;

void require(bool condition, const std::string &what)
{
    if (!condition)
        throw std::runtime_error(what);
}

struct DatabaseCloser {
    void operator()(sqlite3 *db) const
    {
        sqlite3_close(db);
    }
};

struct BusCloser {
    void operator()(busbar *bus) const
    {
        busbar_close(bus);
    }
};

using Database = std::unique_ptr<sqlite3, DatabaseCloser>;
using Bus = std::unique_ptr<busbar, BusCloser>;

Database open_database()
{
    sqlite3 *db = nullptr;
    require(sqlite3_open("", &db) == SQLITE_OK, "open a temporary database");
    return Database(db);
}

Bus open_bus(sqlite3 *db)
{
    busbar_options options{};
    busbar_error error{};
    busbar *bus = nullptr;
    options.size = sizeof options;
    options.port = busbar_linux_port();
    options.sqlite = &routines;
    options.source = "urn:e2e:cplusplus";
    require(busbar_open(&bus, db, &options, &error) == BUSBAR_OK, error.text);
    return Bus(bus);
}

void publish(busbar *bus, const std::string &type, const std::string &data)
{
    busbar_event event{};
    busbar_id id{};
    event.size = sizeof event;
    event.type = type.c_str();
    event.data = data.data();
    event.data_size_bytes = data.size();
    event.lane = BUSBAR_URGENT;
    require(busbar_publish(bus, &event, &id) == BUSBAR_OK, "publish");
    require(id.lane == BUSBAR_URGENT && id.seq == 1, "the event's identity");
}

void test()
{
    Database db = open_database();
    Bus bus = open_bus(db.get());
    std::vector<std::string> handled;
    busbar_handler handler{};
    handler.size = sizeof handler;
    handler.name = "collector";
    handler.ctx = &handled;
    handler.fn = [](busbar *, const busbar_record *event, busbar_reason *, void *ctx) {
        auto text = std::string(static_cast<const char *>(event->data), event->data_size_bytes);
        static_cast<std::vector<std::string> *>(ctx)->push_back(std::string(event->type) + text);
        return BUSBAR_DONE;
    };
    require(busbar_subscribe(bus.get(), &handler, 1) == BUSBAR_OK, "subscribe");
    publish(bus.get(), "pump.started", "{\"rpm\":3}");
    for (uint64_t wait_us = 0; wait_us == 0;)
        require(busbar_step(bus.get(), 10000, &wait_us) == BUSBAR_OK, "step");
    require(handled == std::vector<std::string>{"pump.started{\"rpm\":3}"}, "the handler got the event once");

    int count = 0;
    busbar_query query{};
    query.size = sizeof query;
    auto *count_one = +[](const busbar_record *, const busbar_standing *, void *ctx) {
        ++*static_cast<int *>(ctx);
        return 0;
    };
    require(busbar_list(bus.get(), &query, count_one, &count) == BUSBAR_OK && count == 1, "list");
    require(busbar_error_name(BUSBAR_EFULL) == std::string("BUSBAR_EFULL"), "the code's name");
}

} // namespace

int main()
{
    try {
        test();
    } catch (const std::exception &failure) {
        std::fprintf(stderr, "failed: %s\n", failure.what());
        return 1;
    }
    return 0;
}
