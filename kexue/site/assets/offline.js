/* Opened from a folder, the search page may not read the pages it found: their titles must do. */
if (location.protocol === "file:") DOCUMENTATION_OPTIONS.SHOW_SEARCH_SUMMARY = false;
