/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The tracepoints of vfio.ko: who opens, binds and attaches what, what drivers pin,
 * and which requests are refused. docs/observability.md explains each. Those of
 * vfio_iommu_type1.ko are in the same directory of tracefs.
 */
#undef TRACE_SYSTEM
#define TRACE_SYSTEM vfio

#if !defined(RUST_VFIO_TRACE_H) || defined(TRACE_HEADER_MULTI_READ)
#define RUST_VFIO_TRACE_H

#include <linux/device.h>
#include <linux/tracepoint.h>

DECLARE_EVENT_CLASS(vfio_group,
		    TP_PROTO(int group, int error),
		    TP_ARGS(group, error),
		    TP_STRUCT__entry(__field(int, group)
				     __field(int, error)),
		    TP_fast_assign(__entry->group = group;
				   __entry->error = error;),
		    TP_printk("group=%d error=%d", __entry->group, __entry->error));

DEFINE_EVENT(vfio_group, vfio_group_open,
	     TP_PROTO(int group, int error), TP_ARGS(group, error));
DEFINE_EVENT(vfio_group, vfio_group_close,
	     TP_PROTO(int group, int error), TP_ARGS(group, error));
DEFINE_EVENT(vfio_group, vfio_group_attach,
	     TP_PROTO(int group, int error), TP_ARGS(group, error));
DEFINE_EVENT(vfio_group, vfio_group_detach,
	     TP_PROTO(int group, int error), TP_ARGS(group, error));

DECLARE_EVENT_CLASS(vfio_device,
		    TP_PROTO(struct device *dev, int error),
		    TP_ARGS(dev, error),
		    TP_STRUCT__entry(__string(device, dev_name(dev))
				     __field(int, error)),
		    TP_fast_assign(__assign_str(device);
				   __entry->error = error;),
		    TP_printk("device=%s error=%d", __get_str(device), __entry->error));

DEFINE_EVENT(vfio_device, vfio_device_open,
	     TP_PROTO(struct device *dev, int error), TP_ARGS(dev, error));
DEFINE_EVENT(vfio_device, vfio_device_close,
	     TP_PROTO(struct device *dev, int error), TP_ARGS(dev, error));
DEFINE_EVENT(vfio_device, vfio_cdev_open,
	     TP_PROTO(struct device *dev, int error), TP_ARGS(dev, error));
DEFINE_EVENT(vfio_device, vfio_cdev_close,
	     TP_PROTO(struct device *dev, int error), TP_ARGS(dev, error));

TRACE_EVENT(vfio_bind,
	    TP_PROTO(struct device *dev, int iommufd, int error),
	    TP_ARGS(dev, iommufd, error),
	    TP_STRUCT__entry(__string(device, dev_name(dev))
			     __field(int, iommufd)
			     __field(int, error)),
	    TP_fast_assign(__assign_str(device);
			   __entry->iommufd = iommufd;
			   __entry->error = error;),
	    TP_printk("device=%s iommufd=%d error=%d", __get_str(device),
		      __entry->iommufd, __entry->error));

/* A pasid of -1 stands for the DMA of the device without one. */
DECLARE_EVENT_CLASS(vfio_page_table,
		    TP_PROTO(struct device *dev, s64 pasid, u32 pt, int error),
		    TP_ARGS(dev, pasid, pt, error),
		    TP_STRUCT__entry(__string(device, dev_name(dev))
				     __field(s64, pasid)
				     __field(u32, pt)
				     __field(int, error)),
		    TP_fast_assign(__assign_str(device);
				   __entry->pasid = pasid;
				   __entry->pt = pt;
				   __entry->error = error;),
		    TP_printk("device=%s pasid=%lld pt=%u error=%d", __get_str(device),
			      __entry->pasid, __entry->pt, __entry->error));

DEFINE_EVENT(vfio_page_table, vfio_device_attach,
	     TP_PROTO(struct device *dev, s64 pasid, u32 pt, int error),
	     TP_ARGS(dev, pasid, pt, error));
DEFINE_EVENT(vfio_page_table, vfio_device_detach,
	     TP_PROTO(struct device *dev, s64 pasid, u32 pt, int error),
	     TP_ARGS(dev, pasid, pt, error));

/* What is returned is the number of pages, or an errno. */
DECLARE_EVENT_CLASS(vfio_pages,
		    TP_PROTO(struct device *dev, u64 iova, int count, long ret),
		    TP_ARGS(dev, iova, count, ret),
		    TP_STRUCT__entry(__string(device, dev_name(dev))
				     __field(u64, iova)
				     __field(int, count)
				     __field(long, ret)),
		    TP_fast_assign(__assign_str(device);
				   __entry->iova = iova;
				   __entry->count = count;
				   __entry->ret = ret;),
		    TP_printk("device=%s iova=%#llx count=%d ret=%ld", __get_str(device),
			      __entry->iova, __entry->count, __entry->ret));

DEFINE_EVENT(vfio_pages, vfio_pin,
	     TP_PROTO(struct device *dev, u64 iova, int count, long ret),
	     TP_ARGS(dev, iova, count, ret));
DEFINE_EVENT(vfio_pages, vfio_unpin,
	     TP_PROTO(struct device *dev, u64 iova, int count, long ret),
	     TP_ARGS(dev, iova, count, ret));

/* The numbers are enum vfio_device_mig_state, which is part of the ABI. */
TRACE_EVENT(vfio_migration_state,
	    TP_PROTO(struct device *dev, u32 state, int error),
	    TP_ARGS(dev, state, error),
	    TP_STRUCT__entry(__string(device, dev_name(dev))
			     __field(u32, state)
			     __field(int, error)),
	    TP_fast_assign(__assign_str(device);
			   __entry->state = state;
			   __entry->error = error;),
	    TP_printk("device=%s state=%s error=%d", __get_str(device),
		      __print_symbolic(__entry->state,
				       { 0, "ERROR" }, { 1, "STOP" },
				       { 2, "RUNNING" }, { 3, "STOP_COPY" },
				       { 4, "RESUMING" }, { 5, "RUNNING_P2P" },
				       { 6, "PRE_COPY" }, { 7, "PRE_COPY_P2P" }),
		      __entry->error));

/* What is returned is an errno, or what the feature or its driver returns. */
TRACE_EVENT(vfio_feature,
	    TP_PROTO(struct device *dev, u32 flags, long ret),
	    TP_ARGS(dev, flags, ret),
	    TP_STRUCT__entry(__string(device, dev_name(dev))
			     __field(u32, flags)
			     __field(long, ret)),
	    TP_fast_assign(__assign_str(device);
			   __entry->flags = flags;
			   __entry->ret = ret;),
	    TP_printk("device=%s feature=%u %s ret=%ld", __get_str(device),
		      __entry->flags & 0xffff,
		      __print_flags(__entry->flags & ~0xffff, "|",
				    { 1 << 16, "GET" }, { 1 << 17, "SET" },
				    { 1 << 18, "PROBE" }),
		      __entry->ret));

/* The text says who or what is in the way, and what helps. */
TRACE_EVENT(vfio_refused,
	    TP_PROTO(const char *reason, int error, const char *text),
	    TP_ARGS(reason, error, text),
	    TP_STRUCT__entry(__string(reason, reason)
			     __field(int, error)
			     __string(text, text)),
	    TP_fast_assign(__assign_str(reason);
			   __entry->error = error;
			   __assign_str(text);),
	    TP_printk("reason=%s error=%d: %s", __get_str(reason), __entry->error,
		      __get_str(text)));

#endif /* RUST_VFIO_TRACE_H */

#undef TRACE_INCLUDE_PATH
#define TRACE_INCLUDE_PATH .
#undef TRACE_INCLUDE_FILE
#define TRACE_INCLUDE_FILE events
#include <trace/define_trace.h>
