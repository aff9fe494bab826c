// SPDX-License-Identifier: GPL-2.0-or-later
/* Default routes, through whatever a network card is part of. */
#include <errno.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <sys/socket.h>

#include "host.h"
#include "protect-find.h"

static int add_route(struct routes *routes, uint32_t interface)
{
	for (size_t i = 0; i < routes->n; i++)
		if (routes->interfaces[i] == interface)
			return 0;
	if (routes->n == ROUTES_MAX)
		return -E2BIG;
	routes->interfaces[routes->n++] = interface;
	return 0;
}

/* A route over several interfaces. */
static int parse_hops(const struct rtattr *attribute, struct routes *routes)
{
	const struct rtnexthop *hop = RTA_DATA(attribute);
	size_t left = RTA_PAYLOAD(attribute);
	int r = 0;

	while (r >= 0 && left >= sizeof(*hop) && hop->rtnh_len >= sizeof(*hop) &&
	       hop->rtnh_len <= left) {
		size_t step = RTNH_ALIGN(hop->rtnh_len);

		r = add_route(routes, (uint32_t)hop->rtnh_ifindex);
		left = step < left ? left - step : 0;
		hop = (const struct rtnexthop *)((const char *)hop + step);
	}
	return r;
}

static int parse_route(const struct nlmsghdr *header, struct routes *routes)
{
	const struct rtmsg *route = NLMSG_DATA(header);
	const struct rtattr *attribute = RTM_RTA(route);
	size_t left = header->nlmsg_len;
	int r = 0;

	if (left < NLMSG_LENGTH(sizeof(*route)) || route->rtm_dst_len != 0 ||
	    route->rtm_type != RTN_UNICAST)
		return 0;
	left -= NLMSG_LENGTH(sizeof(*route));
	while (r >= 0 && left >= sizeof(*attribute) && attribute->rta_len >= sizeof(*attribute) &&
	       attribute->rta_len <= left) {
		size_t step = RTA_ALIGN(attribute->rta_len);

		if (attribute->rta_type == RTA_OIF && RTA_PAYLOAD(attribute) >= sizeof(uint32_t)) {
			uint32_t interface;

			memcpy(&interface, RTA_DATA(attribute), sizeof(interface));
			r = add_route(routes, interface);
		} else if (attribute->rta_type == RTA_MULTIPATH) {
			r = parse_hops(attribute, routes);
		}
		left = step < left ? left - step : 0;
		attribute = (const struct rtattr *)((const char *)attribute + step);
	}
	return r;
}

int routes_parse(const void *data, size_t size, void *routes)
{
	const struct nlmsghdr *header = data;
	size_t left = size;

	while (left >= sizeof(*header) && header->nlmsg_len >= sizeof(*header) &&
	       header->nlmsg_len <= left) {
		size_t step = NLMSG_ALIGN(header->nlmsg_len);
		int error = 0;
		int r = 0;

		if (header->nlmsg_flags & NLM_F_DUMP_INTR)
			return -EINTR;
		if (header->nlmsg_type == NLMSG_DONE)
			return 1;
		if (header->nlmsg_type == NLMSG_ERROR) {
			if (header->nlmsg_len >= NLMSG_LENGTH(sizeof(error)))
				memcpy(&error, NLMSG_DATA(header), sizeof(error));
			return error < 0 ? error : -EBADMSG;
		}
		if (header->nlmsg_type == RTM_NEWROUTE)
			r = parse_route(header, routes);
		if (r < 0)
			return r;
		left = step < left ? left - step : 0;
		header = (const struct nlmsghdr *)((const char *)header + step);
	}
	return 0;
}

/* The default routes of all tables. Returns 0 or -errno. */
static int read_routes(struct routes *routes)
{
	static const unsigned char families[] = {AF_INET, AF_INET6};

	for (size_t i = 0; i < ARRAY_SIZE(families); i++) {
		int r = -EINTR;

		/* A table that changes all the time is told as it is at last. */
		for (int tries = 0; r == -EINTR && tries < 5; tries++)
			r = host_route_dump(families[i], routes_parse, routes);
		/* A kernel without IPv6. */
		if (r < 0 && r != -EINTR && r != -EOPNOTSUPP && r != -EAFNOSUPPORT)
			return r;
	}
	return 0;
}

static bool has_route(const struct routes *routes, const struct object *object)
{
	char text[16];
	unsigned long index;

	if (sys_line(object->path, "ifindex", text, sizeof(text)) < 0)
		return false;
	index = strtoul(text, NULL, 10);
	for (size_t i = 0; i < routes->n; i++)
		if (routes->interfaces[i] == index)
			return true;
	return false;
}

/* What the interface is part of: bond, bridge, VLAN, macvlan, VRF, team. */
static int mark_uppers(struct objects *net)
{
	int r = 0;

	for (size_t i = 0; r >= 0 && i < net->n_marked; i++) {
		char master[RAS_NAME_SIZE];

		if (sys_link(net->marked[i]->path, "master", master, sizeof(master)) >= 0)
			objects_mark(net, master);
		r = objects_mark_entries(net, net->marked[i], "", "upper_");
	}
	return r;
}

void find_default_routes(const struct sys_paths *roots, struct findings *f)
{
	_cleanup_objects_ struct objects net = {0};
	struct routes routes = {0};
	const struct object *switched;
	int r = objects_read(&net, "class/net");

	if (r >= 0) {
		objects_mark_below(&net, roots);
		r = mark_uppers(&net);
	}
	if (r >= 0 && net.n_marked > 0)
		r = read_routes(&routes);
	if (r < 0) {
		found(f, "perhaps the default route (cannot tell: %s)", strerror(-r));
		return;
	}
	/* Which ports Open vSwitch joins with which it does not tell: any of its own may use it. */
	switched = objects_find(&net, "ovs-system");
	for (size_t i = 0; i < net.n; i++) {
		const struct object *object = &net.all[i];
		bool open_switch = !object->marked && switched && switched->marked &&
				   strncmp(object->path, "devices/virtual/net/", 20) == 0;

		if ((object->marked || open_switch) && has_route(&routes, object))
			found(f, "the default route (%s%s)", VISIBLE(object->name),
			      open_switch ? ", perhaps through Open vSwitch" : "");
	}
}
