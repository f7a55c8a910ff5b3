"""Pages, charts and tables: one template, one module that draws, one table printer."""
