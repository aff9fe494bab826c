// SPDX-License-Identifier: GPL-2.0-or-later
#include "kernel-msg.h"

#include <errno.h>
#include <linux/genetlink.h>
#include <netlink/attr.h>
#include <netlink/genl/genl.h>
#include <netlink/msg.h>

static const char *const state_names[] = {
	[IOMMU_RAS_STATE_ACTIVE] = "active",
	[IOMMU_RAS_STATE_FENCED] = "fenced",
	[IOMMU_RAS_STATE_SANITIZED] = "sanitized",
};

static const char *const reason_names[] = {
	[IOMMU_RAS_REASON_ATC_TIMEOUT] = "atc-timeout",
	[IOMMU_RAS_REASON_SYNC_TIMEOUT] = "sync-timeout",
	[IOMMU_RAS_REASON_RESET_FAILED] = "reset-failed",
	[IOMMU_RAS_REASON_ADMINISTRATIVE] = "administrative",
};

const char *ras_state_name(uint32_t state)
{
	return state < ARRAY_SIZE(state_names) && state_names[state] ? state_names[state]
								     : "unknown";
}

const char *ras_reason_name(uint32_t reason)
{
	return reason < ARRAY_SIZE(reason_names) && reason_names[reason] ? reason_names[reason]
									 : "unknown";
}

const char *kernel_event_name(enum kernel_message_type type)
{
	switch (type) {
	case KERNEL_FENCED:
		return "fenced";
	case KERNEL_SANITIZED:
		return "sanitized";
	case KERNEL_UNFENCED:
		return "unfenced";
	case KERNEL_REMOVED:
		return "removed";
	default:
		return NULL;
	}
}

/* libnl's attribute functions take pointers to what they only read. */
static struct nlattr *attr_first(const void *payload)
{
	return (struct nlattr *)(uintptr_t)payload;
}

/* A name of the kernel is a NUL-terminated string that fits: a cut one would be another device. */
static bool attr_name(struct nlattr *attr, char *dst, size_t size)
{
	size_t len = (size_t)nla_len(attr);
	const char *s = nla_data(attr);

	/* It is printed, and becomes part of JSON. */
	return len > 0 && strnlen(s, len) < len && s[0] != '\0' && str_copy(dst, size, s) &&
	       streq(VISIBLE(dst), dst);
}

static bool attr_u32(struct nlattr *attr, uint32_t *ret)
{
	if (nla_len(attr) < (int)sizeof(*ret))
		return false;
	*ret = nla_get_u32(attr);
	return true;
}

static bool attr_u64(struct nlattr *attr, uint64_t *ret)
{
	if (nla_len(attr) < (int)sizeof(*ret))
		return false;
	*ret = nla_get_u64(attr);
	return true;
}

/* As attr_name() for one that may be missing: "" rather than a part of it. */
static void attr_optional_name(struct nlattr *attr, char *dst, size_t size)
{
	/* A driver's name becomes part of a path. */
	if (!attr_name(attr, dst, size) || strchr(dst, '/') || dst[0] == '.')
		dst[0] = '\0';
}

static int parse_device(struct nlattr *attrs, int len, struct ras_device *ret)
{
	struct nlattr *attr;
	int rest = 0;

	memset(ret, 0, sizeof(*ret));
	nla_for_each_attr(attr, attrs, len, rest)
	{
		bool good = true;
		uint32_t id = 0;

		switch (nla_type(attr)) {
		/* Without these it would be about nothing, or not known when. */
		case IOMMU_RAS_A_DEVICE_EVENT_SEQ:
			good = attr_u64(attr, &ret->event_seq);
			break;
		case IOMMU_RAS_A_DEVICE_FENCE_ID:
			good = attr_u64(attr, &ret->fence_id);
			break;
		case IOMMU_RAS_A_DEVICE_BUS:
			good = attr_name(attr, ret->bus, sizeof(ret->bus)) &&
			       !strchr(ret->bus, '/') && ret->bus[0] != '.';
			break;
		case IOMMU_RAS_A_DEVICE_DEV:
			/* It becomes part of paths, both in sysfs and in /run. */
			good = attr_name(attr, ret->dev, sizeof(ret->dev)) &&
			       !strchr(ret->dev, '/') && ret->dev[0] != '.';
			break;
		case IOMMU_RAS_A_DEVICE_STATE:
			good = attr_u32(attr, &ret->state);
			break;
		/* The others stay as if they had not been sent. */
		case IOMMU_RAS_A_DEVICE_IOMMU:
			attr_optional_name(attr, ret->iommu, sizeof(ret->iommu));
			break;
		case IOMMU_RAS_A_DEVICE_DRIVER:
			attr_optional_name(attr, ret->driver, sizeof(ret->driver));
			break;
		case IOMMU_RAS_A_DEVICE_GROUP:
			ret->has_group = attr_u32(attr, &ret->group);
			break;
		case IOMMU_RAS_A_DEVICE_STREAM_ID:
			if (!attr_u32(attr, &id))
				break;
			if (ret->n_stream_ids < RAS_STREAM_IDS_MAX)
				ret->stream_ids[ret->n_stream_ids] = id;
			if (ret->n_stream_ids < UINT16_MAX)
				ret->n_stream_ids++;
			break;
		case IOMMU_RAS_A_DEVICE_REASON:
			(void)attr_u32(attr, &ret->reason);
			break;
		case IOMMU_RAS_A_DEVICE_FENCE_TIME:
			(void)attr_u64(attr, &ret->fence_time);
			break;
		case IOMMU_RAS_A_DEVICE_FENCE_COUNT:
			(void)attr_u32(attr, &ret->fence_count);
			break;
		case IOMMU_RAS_A_DEVICE_SUPPRESSED:
			(void)attr_u64(attr, &ret->suppressed);
			break;
		default:
			/* Newer kernels may say more. */
			break;
		}
		if (!good)
			return -EBADMSG;
	}
	/* A message that does not say which device, or what about it, is none. */
	if (rest != 0 || ret->bus[0] == '\0' || ret->dev[0] == '\0' || ret->state == 0)
		return -EBADMSG;
	return 0;
}

static int parse_ras(const struct genlmsghdr *genl, int len, struct kernel_message *ret)
{
	switch (genl->cmd) {
	case IOMMU_RAS_CMD_DEVICE_GET:
		ret->type = KERNEL_DEVICE;
		break;
	case IOMMU_RAS_CMD_DEVICE_FENCED_NTF:
		ret->type = KERNEL_FENCED;
		break;
	case IOMMU_RAS_CMD_DEVICE_SANITIZED_NTF:
		ret->type = KERNEL_SANITIZED;
		break;
	case IOMMU_RAS_CMD_DEVICE_UNFENCED_NTF:
		ret->type = KERNEL_UNFENCED;
		break;
	case IOMMU_RAS_CMD_DEVICE_REMOVED_NTF:
		ret->type = KERNEL_REMOVED;
		break;
	default:
		ret->type = KERNEL_OTHER;
		return 0;
	}
	return parse_device(attr_first(genl + 1), len, &ret->device);
}

static bool find_group(struct nlattr *groups, const char *wanted, uint32_t *ret)
{
	struct nlattr *entry;
	int rest = 0;

	nla_for_each_nested(entry, groups, rest)
	{
		struct nlattr *attr;
		int rest_entry = 0;
		char name[GENL_NAMSIZ] = "";
		uint32_t id = 0;

		nla_for_each_nested(attr, entry, rest_entry)
		{
			if (nla_type(attr) == CTRL_ATTR_MCAST_GRP_NAME &&
			    !attr_name(attr, name, sizeof(name)))
				return false;
			if (nla_type(attr) == CTRL_ATTR_MCAST_GRP_ID && !attr_u32(attr, &id))
				return false;
		}
		if (id != 0 && streq(name, wanted)) {
			*ret = id;
			return true;
		}
	}
	return false;
}

static int parse_ctrl(const struct genlmsghdr *genl, int len, const char *wanted,
		      const char *group_name, struct kernel_message *ret)
{
	struct nlattr *groups = NULL;
	struct nlattr *attr;
	char name[GENL_NAMSIZ] = "";
	int rest = 0;

	ret->type = KERNEL_OTHER;
	if (genl->cmd != CTRL_CMD_NEWFAMILY && genl->cmd != CTRL_CMD_DELFAMILY)
		return 0;
	nla_for_each_attr(attr, attr_first(genl + 1), len, rest)
	{
		switch (nla_type(attr)) {
		case CTRL_ATTR_FAMILY_NAME:
			if (!attr_name(attr, name, sizeof(name)))
				return -EBADMSG;
			break;
		case CTRL_ATTR_FAMILY_ID:
			if (nla_len(attr) < (int)sizeof(uint16_t))
				return -EBADMSG;
			ret->family = nla_get_u16(attr);
			break;
		case CTRL_ATTR_MCAST_GROUPS:
			groups = attr;
			break;
		default:
			break;
		}
	}
	if (!streq(name, wanted))
		return 0;
	if (genl->cmd == CTRL_CMD_DELFAMILY) {
		ret->type = KERNEL_FAMILY_GONE;
		return 0;
	}
	if (ret->family == 0 || !groups || !find_group(groups, group_name, &ret->group))
		return -EBADMSG;
	ret->type = KERNEL_FAMILY;
	return 0;
}

/*
 * The text that comes with an error. Unless the request is left out of the reply (NLM_F_CAPPED)
 * the attributes follow its copy. Nothing here can make the error itself unreadable.
 */
static void parse_error_text(const struct nlmsghdr *nlh, const struct nlmsgerr *err, char *dst,
			     size_t size)
{
	const char *begin = (const char *)(err + 1);
	const char *end = (const char *)nlh + nlh->nlmsg_len;
	struct nlattr *attr;
	int rest = 0;

	dst[0] = '\0';
	if (!(nlh->nlmsg_flags & NLM_F_ACK_TLVS))
		return;
	if (!(nlh->nlmsg_flags & NLM_F_CAPPED)) {
		size_t request = NLMSG_ALIGN(err->msg.nlmsg_len);

		if (request < sizeof(err->msg) ||
		    request - sizeof(err->msg) > (size_t)(end - begin))
			return;
		begin += request - sizeof(err->msg);
	}
	nla_for_each_attr(attr, attr_first(begin), (int)(end - begin), rest)
	{
		if (nla_type(attr) == NLMSGERR_ATTR_MSG && nla_len(attr) > 0) {
			const char *s = nla_data(attr);
			size_t len = strnlen(s, (size_t)nla_len(attr));

			char raw[512];

			snprintf(raw, sizeof(raw), "%.*s", (int)len, s);
			str_visible(dst, size, raw);
		}
	}
}

int kernel_message_parse(const struct nlmsghdr *nlh, uint16_t family, const char *name,
			 const char *group_name, struct kernel_message *ret)
{
	size_t len = nlh->nlmsg_len;
	const void *payload = (const char *)nlh + NLMSG_HDRLEN;

	ret->type = KERNEL_OTHER;
	ret->seq = nlh->nlmsg_seq;
	ret->interrupted = nlh->nlmsg_flags & NLM_F_DUMP_INTR;
	ret->error = 0;
	ret->text[0] = '\0';
	ret->family = 0;
	ret->group = 0;

	if (len < NLMSG_HDRLEN)
		return -EBADMSG;
	len -= NLMSG_HDRLEN;

	switch (nlh->nlmsg_type) {
	case NLMSG_NOOP:
		return 0;
	case NLMSG_DONE:
		ret->type = KERNEL_DONE;
		if (len >= sizeof(int))
			memcpy(&ret->error, payload, sizeof(int));
		if (ret->error > 0)
			ret->error = -EBADMSG;
		return 0;
	case NLMSG_ERROR:
		if (len < sizeof(struct nlmsgerr))
			return -EBADMSG;
		ret->type = KERNEL_ERROR;
		memcpy(&ret->error, payload, sizeof(int));
		if (ret->error > 0)
			ret->error = -EBADMSG;
		parse_error_text(nlh, payload, ret->text, sizeof(ret->text));
		return 0;
	case NLMSG_OVERRUN:
		return -EBADMSG;
	default:
		break;
	}
	if (len < GENL_HDRLEN)
		return nlh->nlmsg_type < NLMSG_MIN_TYPE ? 0 : -EBADMSG;
	len -= GENL_HDRLEN;
	if (nlh->nlmsg_type == GENL_ID_CTRL)
		return parse_ctrl(payload, (int)len, name, group_name, ret);
	if (family != 0 && nlh->nlmsg_type == family)
		return parse_ras(payload, (int)len, ret);
	return 0;
}
