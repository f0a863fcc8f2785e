"""The leaderboard in a browser: pages from one set of templates, served or written to a folder."""

from omnimat_dashboard.serve import serve
from omnimat_dashboard.site import write_site

__all__ = ["serve", "write_site"]
