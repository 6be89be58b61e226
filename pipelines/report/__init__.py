"""What a person reads after a run: report.html, MODEL_CARD.md, and how several runs compare, made from the run folders
alone."""

from pipelines.report.card import write_model_card
from pipelines.report.comparison import compare
from pipelines.report.comparison_page import as_json, as_text, write_comparison
from pipelines.report.folder import save_figures
from pipelines.report.page import write_report

__all__ = ["as_json", "as_text", "compare", "save_figures", "write_comparison", "write_model_card", "write_report"]
