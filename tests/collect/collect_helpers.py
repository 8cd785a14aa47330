"""What the small Dynamic World of these tests has in common."""

CRS = "EPSG:32654"
SIDE = 24  # pixels of a label tile
ORIGIN = (500_000.0, 4_000_000.0)
DATE = "2018-06-15"
NAMES = ("dw_141.0_36.1-20180615", "dw_142.5_36.1-20180615")  # the second far from all images
BANDS = ("B02", "B08")
PASS = {"sar:instrument_mode": "IW", "sat:orbit_state": "descending", "platform": "sentinel-1a"}
