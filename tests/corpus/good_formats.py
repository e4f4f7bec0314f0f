"""Codecs, containers and pixel formats: every frame comes, in order, the one that was put in."""

from case import Case, encoded

__all__ = ["FORMATS"]

X265 = "log-level=none"
OPEN_GOP = "open-gop=1:bframes=3:keyint=6:min-keyint=6"
VP9 = {"deadline": "realtime", "cpu-used": "8"}
AV1 = {"preset": "12"}
INTERLACED = {"flags": "+ildct+ilme"}
FRAGMENTED = {"movflags": "frag_keyframe+empty_moov+default_base_moof"}

FORMATS = [
    Case(name="h264 with B-frames in MP4", make=encoded("mp4", options={"bf": "3", "g": "6"})),
    Case(name="h264 open GOP in Matroska", make=encoded("mkv", options={"x264-params": OPEN_GOP})),
    Case(name="h264 with B-frames in MPEG-TS", make=encoded("ts", options={"bf": "3", "g": "6"})),
    Case(name="h264 with B-frames in AVI", make=encoded("avi", options={"bf": "2"})),
    Case(name="h264 without container", make=encoded("h264", options={"bf": "2"})),
    Case(name="h264 in QuickTime", make=encoded("mov")),
    Case(name="h264 in FLV", make=encoded("flv")),
    Case(name="h264 in fragmented MP4", make=encoded("mp4", container_options=FRAGMENTED)),
    Case(
        name="h264 in MP4, index in front", make=encoded("mp4", container_options={"movflags": "faststart"})
    ),
    Case(name="h264 10 bit", make=encoded("mp4", pix_fmt="yuv420p10le")),
    Case(name="h264 4:2:2", make=encoded("mp4", pix_fmt="yuv422p")),
    Case(name="h264 4:4:4", make=encoded("mp4", pix_fmt="yuv444p")),
    Case(name="h264 4:4:4 10 bit", make=encoded("mkv", pix_fmt="yuv444p10le")),
    Case(name="h264 full range", make=encoded("mp4", pix_fmt="yuvj420p")),
    Case(name="h264 gray", make=encoded("mp4", pix_fmt="gray")),
    Case(name="h264 lossless", make=encoded("mkv", pix_fmt="yuv444p", options={"qp": "0"})),
    Case(name="h264 interlaced", make=encoded("ts", options=INTERLACED)),
    Case(name="h264 intra refresh", make=encoded("ts", options={"x264-params": "intra-refresh=1:keyint=6"})),
    Case(name="hevc in MP4", make=encoded("mp4", "libx265", options={"x265-params": X265})),
    Case(name="hevc open GOP", make=encoded("ts", "libx265", options={"x265-params": f"{X265}:{OPEN_GOP}"})),
    Case(name="hevc 10 bit", make=encoded("mkv", "libx265", "yuv420p10le", options={"x265-params": X265})),
    Case(name="hevc without container", make=encoded("hevc", "libx265", options={"x265-params": X265})),
    Case(name="vp8 with hidden frames", make=encoded("webm", "libvpx", options={"auto-alt-ref": "1"})),
    Case(name="vp9 in WebM", make=encoded("webm", "libvpx-vp9", options=VP9)),
    Case(name="vp9 with alpha", make=encoded("webm", "libvpx-vp9", "yuva420p", options=VP9)),
    Case(name="vp9 with hidden frames", make=encoded("webm", "libvpx-vp9", options={"cpu-used": "5"})),
    Case(name="vp9 4:4:4", make=encoded("webm", "libvpx-vp9", "yuv444p", options=VP9)),
    Case(name="vp9 in IVF", make=encoded("ivf", "libvpx-vp9", options=VP9)),
    Case(name="vp8 in Ogg", make=encoded("ogg", "libvpx")),
    Case(name="av1 in MP4", make=encoded("mp4", "libsvtav1", options=AV1, size=(128, 96))),
    Case(name="av1 in WebM", make=encoded("webm", "libsvtav1", options=AV1, size=(128, 96))),
    Case(name="av1 without container", make=encoded("obu", "libsvtav1", options=AV1, size=(128, 96))),
    Case(
        name="av1 10 bit",
        make=encoded("mkv", "libsvtav1", "yuv420p10le", options={"preset": "8"}, size=(128, 96)),
    ),
    Case(name="mpeg4 in AVI", make=encoded("avi", "mpeg4")),
    Case(name="mpeg4 with B-frames in AVI", make=encoded("avi", "mpeg4", options={"bf": "2"})),
    Case(name="mpeg4 with B-frames in MP4", make=encoded("mp4", "mpeg4", options={"bf": "2", "g": "6"})),
    Case(name="mpeg1 program stream", make=encoded("mpg", "mpeg1video")),
    Case(name="mpeg2 program stream", make=encoded("mpg", "mpeg2video", options={"bf": "2", "g": "6"})),
    Case(name="mpeg2 interlaced in MPEG-TS", make=encoded("ts", "mpeg2video", options=INTERLACED)),
    Case(name="mpeg2 without container", make=encoded("m2v", "mpeg2video")),
    Case(name="mpeg4 without container", make=encoded("m4v", "mpeg4")),
    Case(name="mpeg2 in MXF", make=encoded("mxf", "mpeg2video")),
    Case(name="mjpeg in AVI", make=encoded("avi", "mjpeg", "yuvj420p")),
    Case(name="mjpeg in QuickTime", make=encoded("mov", "mjpeg", "yuvj422p")),
    Case(name="mjpeg without container", make=encoded("mjpeg", "mjpeg", "yuvj420p")),
    Case(name="animated GIF", make=encoded("gif", "gif", "rgb8")),
    Case(name="animated PNG", make=encoded("apng", "apng", "rgb24")),
    Case(name="animated PNG with alpha", make=encoded("apng", "apng", "rgba")),
    Case(name="windows media", make=encoded("wmv", "wmv2")),
    Case(name="h263 in 3GP", make=encoded("3gp", "h263", size=(176, 144))),
    Case(name="real video", make=encoded("rm", "rv20", size=(176, 144))),
    Case(name="flash video", make=encoded("flv", "flv")),
    Case(name="prores 4:2:2 10 bit", make=encoded("mov", "prores_ks", "yuv422p10le")),
    Case(name="prores 4:4:4 with alpha", make=encoded("mov", "prores_ks", "yuva444p10le")),
    Case(name="quicktime animation with alpha", make=encoded("mov", "qtrle", "argb")),
    Case(name="png in QuickTime", make=encoded("mov", "png", "rgb24")),
    Case(name="jpeg2000 in QuickTime", make=encoded("mov", "jpeg2000", "rgb24")),
    Case(name="ffv1 gray 16 bit", make=encoded("mkv", "ffv1", "gray16le")),
    Case(name="ffv1 with alpha", make=encoded("mkv", "ffv1", "yuva420p")),
    Case(name="ffv1 RGB 4:4:4", make=encoded("mkv", "ffv1", "bgr0")),
    Case(name="huffyuv in AVI", make=encoded("avi", "huffyuv", "rgb24")),
    Case(name="raw BGR in AVI", make=encoded("avi", "rawvideo", "bgr24")),
    Case(name="raw YUV4MPEG", make=encoded("y4m", "wrapped_avframe")),
    Case(name="dv", make=encoded("dv", "dvvideo", "yuv420p", size=(720, 576))),
    Case(name="mpeg4 in NUT", make=encoded("nut", "mpeg4")),
]
