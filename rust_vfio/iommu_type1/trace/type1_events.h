/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The tracepoints of vfio_iommu_type1.ko: requests about the memory of a container.
 * docs/observability.md explains each. The flags are those of the ABI.
 */
#undef TRACE_SYSTEM
#define TRACE_SYSTEM vfio

#if !defined(RUST_VFIO_TYPE1_TRACE_H) || defined(TRACE_HEADER_MULTI_READ)
#define RUST_VFIO_TYPE1_TRACE_H

#include <linux/tracepoint.h>

TRACE_EVENT(vfio_map,
	    TP_PROTO(u64 iova, u64 size, u64 vaddr, u32 flags, int error),
	    TP_ARGS(iova, size, vaddr, flags, error),
	    TP_STRUCT__entry(__field(u64, iova)
			     __field(u64, size)
			     __field(u64, vaddr)
			     __field(u32, flags)
			     __field(int, error)),
	    TP_fast_assign(__entry->iova = iova;
			   __entry->size = size;
			   __entry->vaddr = vaddr;
			   __entry->flags = flags;
			   __entry->error = error;),
	    TP_printk("iova=%#llx size=%#llx vaddr=%#llx %s error=%d",
		      __entry->iova, __entry->size, __entry->vaddr,
		      __print_flags(__entry->flags, "|", { 1 << 0, "READ" },
				    { 1 << 1, "WRITE" }, { 1 << 2, "VADDR" }),
		      __entry->error));

/* Before and after: drivers may be asked to unpin pages meanwhile. */
TRACE_EVENT(vfio_unmap,
	    TP_PROTO(u64 iova, u64 size, u32 flags),
	    TP_ARGS(iova, size, flags),
	    TP_STRUCT__entry(__field(u64, iova)
			     __field(u64, size)
			     __field(u32, flags)),
	    TP_fast_assign(__entry->iova = iova;
			   __entry->size = size;
			   __entry->flags = flags;),
	    TP_printk("iova=%#llx size=%#llx %s", __entry->iova, __entry->size,
		      __print_flags(__entry->flags, "|",
				    { 1 << 0, "GET_DIRTY_BITMAP" }, { 1 << 1, "ALL" },
				    { 1 << 2, "VADDR" })));

TRACE_EVENT(vfio_unmap_done,
	    TP_PROTO(u64 iova, u64 size, u64 unmapped, int error),
	    TP_ARGS(iova, size, unmapped, error),
	    TP_STRUCT__entry(__field(u64, iova)
			     __field(u64, size)
			     __field(u64, unmapped)
			     __field(int, error)),
	    TP_fast_assign(__entry->iova = iova;
			   __entry->size = size;
			   __entry->unmapped = unmapped;
			   __entry->error = error;),
	    TP_printk("iova=%#llx size=%#llx unmapped=%#llx error=%d",
		      __entry->iova, __entry->size, __entry->unmapped,
		      __entry->error));

/* Only GET_BITMAP is about a range. */
TRACE_EVENT(vfio_dirty,
	    TP_PROTO(u32 flags, u64 iova, u64 size, int error),
	    TP_ARGS(flags, iova, size, error),
	    TP_STRUCT__entry(__field(u32, flags)
			     __field(u64, iova)
			     __field(u64, size)
			     __field(int, error)),
	    TP_fast_assign(__entry->flags = flags;
			   __entry->iova = iova;
			   __entry->size = size;
			   __entry->error = error;),
	    TP_printk("%s iova=%#llx size=%#llx error=%d",
		      __print_flags(__entry->flags, "|", { 1 << 0, "START" },
				    { 1 << 1, "STOP" }, { 1 << 2, "GET_BITMAP" }),
		      __entry->iova, __entry->size, __entry->error));

DECLARE_EVENT_CLASS(vfio_domain,
		    TP_PROTO(int group, unsigned int domains, int error),
		    TP_ARGS(group, domains, error),
		    TP_STRUCT__entry(__field(int, group)
				     __field(unsigned int, domains)
				     __field(int, error)),
		    TP_fast_assign(__entry->group = group;
				   __entry->domains = domains;
				   __entry->error = error;),
		    TP_printk("group=%d domains=%u error=%d", __entry->group,
			      __entry->domains, __entry->error));

DEFINE_EVENT(vfio_domain, vfio_domain_attach,
	     TP_PROTO(int group, unsigned int domains, int error),
	     TP_ARGS(group, domains, error));
DEFINE_EVENT(vfio_domain, vfio_domain_detach,
	     TP_PROTO(int group, unsigned int domains, int error),
	     TP_ARGS(group, domains, error));

/* The text says who or what is in the way, and what helps. */
TRACE_EVENT(vfio_dma_refused,
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

#endif /* RUST_VFIO_TYPE1_TRACE_H */

#undef TRACE_INCLUDE_PATH
#define TRACE_INCLUDE_PATH .
#undef TRACE_INCLUDE_FILE
#define TRACE_INCLUDE_FILE type1_events
#include <trace/define_trace.h>
