"""
Response flags: the short names, by the long names of RESPONSE_FLAGS_LONG and by the field names of ALS.

Source: envoyproxy/envoy envoy/stream_info/stream_info.h (CoreResponseFlag), source/common/stream_info/utility.h,
api/envoy/data/accesslog/v3/accesslog.proto (ResponseFlags).
"""

SHORT_BY_LONG = {
    "FailedLocalHealthCheck": "LH", "NoHealthyUpstream": "UH", "UpstreamRequestTimeout": "UT", "LocalReset": "LR",
    "UpstreamRemoteReset": "UR", "UpstreamConnectionFailure": "UF", "UpstreamConnectionTermination": "UC",
    "UpstreamOverflow": "UO", "NoRouteFound": "NR", "DelayInjected": "DI", "FaultInjected": "FI", "RateLimited": "RL",
    "UnauthorizedExternalService": "UAEX", "RateLimitServiceError": "RLSE", "DownstreamConnectionTermination": "DC",
    "UpstreamRetryLimitExceeded": "URX", "StreamIdleTimeout": "SI", "InvalidEnvoyRequestHeaders": "IH",
    "DownstreamProtocolError": "DPE", "UpstreamMaxStreamDurationReached": "UMSDR", "ResponseFromCacheFilter": "RFCF",
    "NoFilterConfigFound": "NFCF", "DurationTimeout": "DT", "UpstreamProtocolError": "UPE", "NoClusterFound": "NC",
    "OverloadManagerTerminated": "OM", "DnsResolutionFailed": "DF", "DropOverload": "DO", "DownstreamRemoteReset": "DR",
    "UnconditionalDropOverload": "UDO",
}  # fmt: skip

#: The others' field names are their long names but for the case of the first letter.
_OF_ALS = {
    "failedLocalHealthcheck": "LH", "unauthorizedDetails": "UAEX", "overloadManager": "OM",
    "dnsResolutionFailure": "DF",
}  # fmt: skip
SHORT_BY_FIELD = {name[0].lower() + name[1:]: short for name, short in SHORT_BY_LONG.items()} | _OF_ALS
