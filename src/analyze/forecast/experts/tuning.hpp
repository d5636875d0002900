// The constants of the combination, all in one place: none depends on the series. bench/README.md
// says which were tried.
#pragma once

namespace nexus::analyze {

struct Tuning {
  double error_memory = 300;  // rows: the mean errors that weights come from
  double power = 6;           // of the weights
  double worst = 0.3;         // weight, relative to the best expert's, below which it is dropped
  int pool = 3;               // neighbouring leads that share their errors for the weights
  double admit = 0.98;        // what a season's error must be of the best error without it
  double ridge = 0.01;
  double ridge_memory = 3000;   // rows
  double ridge_clip = 8;        // scales: features and changes beyond are cut there
  double score_memory = 1500;   // rows: the histograms of scores
  double size_memory = 600;     // rows: the mean error that scores are relative to
  double burst = 0.7;           // how far the present size of errors counts: 0 not, 1 fully
  double hours_shrink = 3;      // days that an hour of the day must outweigh
  double hours_memory = 60;     // of them
  double hours_gain = 0.01;     // by which an hour's size must have made errors less surprising
  int reach = 1;                // neighbouring leads that share histograms
  double adapt = 0.01;          // step of the adaptive levels, by rows ahead
  double adapt_after = 3;       // leads verified before they move
  double burst_lasts = 24;      // rows ahead after which a third of a burst counts
  double profile_speed = 0.07;  // a season's profile moves toward the last one by
  double change_scales = 5;     // how far out a new level must be
  int change_rows = 24;         // and for how long
  double unrest = 1.4;          // power of how large the next row's errors are of late, far ahead
  double unrest_rows = 6;       // over so many rows
  double unrest_leads = 0.5;    // and this many leads more
  double least_unrest = 0.8;    // calm and unrest beyond count no more than these
  double most_unrest = 2;
  double rank80 = 0.6;  // 1: the conformal rank, 0.5: the middle of an error's share
  double rank95 = 1;
  double least_tail80 = 0.5;  // of the level's tail, however few errors are known
  double least_tail95 = 0.25;
  double echo = 0.5;      // how far errors that are unlike each other count as more
  double young = 1.5;     // power of a row's number: how much later errors count for more
  double between = 0.05;  // intervals halfway between two learnt leads are wider by
};

#ifdef NEXUS_TUNE
extern Tuning kTuning;
#else
inline constexpr Tuning kTuning{};
#endif

}  // namespace nexus::analyze
